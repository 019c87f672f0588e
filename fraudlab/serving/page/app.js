/** The frame of the page: views by the address's hash, the key's dialog, and what all views say. */

import { announce, fill, h } from "./dom.js";
import { Server, ServerError } from "./server.js";

/**
 * @typedef {{show?: () => void, hide?: () => void}} View what a view gives back: told when it is looked at and when not
 * @typedef {(root: HTMLElement, server: Server) => View | void | Promise<View | void>} Mount
 */

/** @type {Record<string, {title: string, load: () => Promise<{mount: Mount}>}>} */
const VIEWS = {
  score: { title: "Score", load: () => import("./score.js") },
  batch: { title: "Batch", load: () => import("./batch.js") },
  cases: { title: "Cases", load: () => import("./cases.js") },
  health: { title: "Health", load: () => import("./health.js") },
  model: { title: "Model", load: () => import("./model.js") },
};

/**
 * @template {HTMLElement} E
 * @param {string} id
 * @param {new () => E} kind
 */
function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`no #${id}`);
  return found;
}

const main = byId("main", HTMLElement);
const dialog = byId("key", HTMLDialogElement);
const value = byId("key-value", HTMLInputElement);
const server = new Server(askKey);
/** @type {Map<string, {root: HTMLElement, view: View, failed?: boolean}>} */
const mounted = new Map();
let shown = "";

/**
 * Shows the dialog for the key.
 * @param {string} says
 * @returns {Promise<string | null>}
 */
function askKey(says) {
  byId("key-says", HTMLElement).textContent = says;
  value.value = "";
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "use" ? value.value.trim() : null), { once: true });
    dialog.showModal();
    value.focus();
  });
}

byId("key-cancel", HTMLButtonElement).addEventListener("click", () => dialog.close(""));
byId("enter", HTMLButtonElement).addEventListener("click", async () => {
  const key = await askKey("Give the key that this tab asks with. Leave it empty to ask without one.");
  if (key !== null) {
    server.useKey(key);
    await about();
  }
});

/** The bundle's name beside the title, and whether the server answers. */
async function about() {
  const notice = byId("notice", HTMLElement);
  try {
    const info = await server.info();
    document.title = `${VIEWS[shown]?.title ?? "fraudlab"} – ${info.schema.name}`;
    fill(byId("about", HTMLElement),
      info.schema.name, " ", h("code", { title: "version of the bundle" }, info.bundle_version),
      info.schema.simulated && [" ", h("span", { class: "tag" }, "simulated data")]);
    notice.hidden = true;
  } catch (error) {
    notice.hidden = false;
    notice.textContent = error instanceof ServerError ? error.says : String(error);
  }
}

server.addEventListener("key", () => {
  if (mounted.get(shown)?.failed) again(shown);
});
server.addEventListener("bundle", (event) => {
  if (/** @type {CustomEvent} */ (event).detail.first) announce("The server has another bundle now.");
  void about();
});

/** Shows the view that the address names. */
async function go() {
  const asked = location.hash.slice(1);
  if (asked === "main" && shown) return; // the link that skips to the content
  const name = Object.hasOwn(VIEWS, asked) ? asked : "score";
  if (name === shown) return;
  const before = mounted.get(shown);
  if (before) {
    before.root.hidden = true;
    before.view.hide?.();
  }
  const first = shown === "";
  shown = name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = VIEWS[name].title;
  let own = mounted.get(name);
  if (own?.failed) {
    own.root.remove();
    own = undefined;
  }
  if (!own) {
    own = { root: h("section", { id: `view-${name}`, class: "view", "aria-label": VIEWS[name].title }), view: {} };
    mounted.set(name, own);
    main.append(own.root);
    try {
      own.view = (await (await VIEWS[name].load()).mount(own.root, server)) ?? {};
    } catch (error) {
      own.failed = true;
      fill(own.root, h("h2", {}, VIEWS[name].title),
        h("p", { class: "problem", role: "alert" }, error instanceof ServerError ? error.says : String(error)),
        h("p", {}, h("button", { type: "button", onclick: () => again(name) }, "Try again")));
    }
  }
  own.root.hidden = shown !== name;
  if (shown === name) own.view.show?.();
  void about();
  if (!first) main.focus({ preventScroll: true });
}

/** @param {string} name */
function again(name) {
  mounted.get(name)?.root.remove();
  mounted.delete(name);
  shown = "";
  void go();
}

addEventListener("hashchange", () => void go());
void go();
