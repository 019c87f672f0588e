/** The view Cases: the latest alerts of the record, what each rests on, and the analyst's label. */

import { bars } from "./charts.js";
import { announce, fill, h, put, table, unique } from "./dom.js";
import { Digits, percent, short, textOf } from "./numbers.js";
import { Poll } from "./poll.js";
import { ServerError } from "./server.js";

/**
 * @typedef {{request_id: string, position: number, transaction_id: string | null, transaction_time: string | null, scored_at: string, score: number,
 *   risk_level: "medium" | "high", reasons: {feature: string, value: string | null, share: number}[] | null, decision: string | null,
 *   label: {fraud: boolean | null, source: string, event_time: string} | null, inputs?: Record<string, any>}} Alert
 */

const MOST = 1000;
const SECONDS = 10;
const PAGE = 20;
const HASH = /^[0-9a-f]{64}$/;
/** @type {Record<string, [string, (one: Alert, other: Alert) => number]>} */
const ORDERS = {
  newest: ["newest first", () => 0],
  oldest: ["oldest first", (one, other) => one.scored_at.localeCompare(other.scored_at) || one.position - other.position],
  score: ["highest score first", (one, other) => other.score - one.score],
};

/**
 * @param {HTMLElement} root
 * @param {import("./server.js").Server} server
 */
export async function mount(root, server) {
  const info = await server.info();
  /** @type {any} */
  let told;
  try {
    told = await server.ask(`alerts?limit=${MOST}`);
  } catch (error) {
    if (!(error instanceof ServerError) || error.status !== 404) throw error;
    root.append(h("h2", {}, "Cases"), h("section", { class: "card" },
      h("p", {}, "This server keeps no record, so there are no alerts to show."),
      h("p", { class: "hint" }, "Whoever runs it can start it with ", h("code", {}, "serving.record_to=<folder> serving.record_reasons=5"), "; alerts then show up here.")));
    return;
  }
  return new Cases(root, server, info, told);
}

/** @param {Alert} alert */
function keyOf(alert) {
  return `${alert.request_id} ${alert.position}`;
}

/** @param {Alert} alert */
function word(alert) {
  if (!alert.label || alert.label.fraud === null) return alert.label ? "taken back" : "open";
  return alert.label.fraud ? "fraud" : "genuine";
}

/** @param {Alert} alert */
function nameOf(alert) {
  return alert.transaction_id ?? `${alert.request_id}, ${alert.position}`;
}

/** @param {string} time */
function clock(time) {
  return time.slice(0, 19).replace("T", " ");
}

class Cases {
  /**
   * @param {HTMLElement} root
   * @param {import("./server.js").Server} server
   * @param {any} info
   * @param {{alerts: Alert[], since: string, kept: number}} told
   */
  constructor(root, server, info, told) {
    this.server = server;
    this.told = told;
    this.idType = info.schema.fields.find((/** @type {any} */ field) => field.role === "id")?.type;
    this.open = "";
    this.shown = PAGE;
    this.seen = "";
    this.level = this.#select("Level", { "": "both levels", high: "high", medium: "medium" });
    this.state = this.#select("Label", { open: "not marked", marked: "marked", "": "all" });
    this.order = this.#select("Order", Object.fromEntries(Object.entries(ORDERS).map(([name, [says]]) => [name, says])));
    this.search = h("input", { type: "search", id: unique("search"), placeholder: "id, request, reason, value", oninput: () => this.#changed() });
    this.says = h("p", { class: "hint" });
    this.unsaid = h("div"); // marks that failed, of cases that were left meanwhile
    this.list = h("div", { class: "rows cases" });
    this.more = h("p");
    this.detail = h("section", { class: "card", "aria-label": "Open case", tabindex: -1, hidden: true, onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event) });
    root.append(h("h2", {}, "Cases"), h("p", { class: "hint" }, "Labels shown here were sent to this server since its start or reload. Labels sent to other instances or read from files are in the record alone."), this.detail,
      h("section", { class: "card", "aria-label": "Alerts" },
        h("div", { class: "options" }, [this.level, this.state, this.order].map(({ label, select }) => h("p", {}, label, select)),
          h("p", {}, h("label", { for: this.search.id }, "Search"), this.search)),
        this.unsaid, this.says, this.list, this.more));
    this.poll = new Poll([[SECONDS, () => this.#refresh()]]);
    this.#draw();
  }

  show() {
    this.poll.start();
  }

  hide() {
    this.poll.stop();
  }

  /**
   * @param {string} name
   * @param {Record<string, string>} choices
   */
  #select(name, choices) {
    const select = h("select", { id: unique("choice"), onchange: () => this.#changed() },
      Object.entries(choices).map(([value, says]) => h("option", { value }, says)));
    return { select, label: h("label", { for: select.id }, name) };
  }

  #changed() {
    this.shown = PAGE;
    this.#draw();
  }

  async #refresh() {
    try {
      this.told = await this.server.ask(`alerts?limit=${MOST}`, { quiet: true });
      this.#draw();
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.says.textContent = `${error.says} The list is from before.`;
    }
  }

  /** The alerts that the filters leave, in the order that is asked for. */
  #wanted() {
    const text = this.search.value.trim().toLowerCase();
    const [level, state] = [this.level.select.value, this.state.select.value];
    return this.told.alerts.filter((alert) => {
      const marked = word(alert) === "fraud" || word(alert) === "genuine";
      if ((level && alert.risk_level !== level) || (state && marked !== (state === "marked"))) return false;
      const words = [alert.transaction_id, alert.request_id, ...(alert.reasons ?? []).flatMap(({ feature, value }) => [feature, value])];
      return !text || words.some((each) => each?.toLowerCase().includes(text));
    }).sort(ORDERS[this.order.select.value][1]);
  }

  #draw() {
    const wanted = this.#wanted();
    const { alerts, since, kept } = this.told;
    this.says.textContent = alerts.length
      ? `${short(wanted.length)} of ${short(kept)} alerts since ${clock(since)} UTC${kept === MOST ? ", the latest that are kept in memory" : ""}. Updated every ${SECONDS} s.`
      : `No alert since ${clock(since)} UTC, when this server started or was reloaded.`;
    const rows = wanted.slice(0, this.shown);
    const seen = JSON.stringify(rows.map((alert) => [keyOf(alert), word(alert), this.open]));
    if (seen === this.seen) return;
    this.seen = seen;
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.key : undefined;
    fill(this.list, rows.length > 0 && table("Alerts; open one by its transaction", ["transaction", "score", "level", "label", "scored (UTC)", "strongest reason"], rows.map((alert) => [
      h("button", { type: "button", class: "quiet", "data-key": keyOf(alert), "aria-expanded": String(keyOf(alert) === this.open), onclick: () => this.#look(alert) }, h("bdi", {}, nameOf(alert))),
      percent(alert.score), h("span", { class: `level ${alert.risk_level}` }, alert.risk_level),
      h("span", { class: word(alert) === "fraud" ? "high" : word(alert) === "genuine" ? "low" : "note" }, word(alert)), clock(alert.scored_at), h("bdi", {}, reason(alert)),
    ])));
    fill(this.more, wanted.length > this.shown && h("button", { type: "button", class: "quiet", onclick: () => {
      this.shown += PAGE;
      this.#draw();
    } }, `Show ${short(Math.min(PAGE, wanted.length - this.shown))} more`));
    if (focused) [...this.list.querySelectorAll("button")].find((each) => each.dataset.key === focused)?.focus({ preventScroll: true });
  }

  /** @param {Alert} alert */
  async #look(alert) {
    const key = keyOf(alert);
    this.open = key;
    this.current = undefined; // keys mark nothing until this one is drawn
    this.#draw();
    this.detail.hidden = false;
    fill(this.detail, h("p", {}, "Reading …"));
    let [read, problem] = [alert, ""];
    try {
      const place = `request_id=${encodeURIComponent(alert.request_id)}&position=${alert.position}`;
      read = (await this.server.ask(`alerts?${place}&limit=1`)).alerts[0];
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      problem = error.says;
    }
    if (this.open !== key) return; // another one was opened meanwhile
    this.#detail(read, problem);
    this.detail.focus({ preventScroll: true });
    this.detail.scrollIntoView({ block: "nearest" });
  }

  /**
   * @param {Alert} alert
   * @param {string} [problem]
   */
  #detail(alert, problem = "") {
    const says = h("p", { role: "status" });
    const marked = alert.label !== null && alert.label.fraud !== null;
    const mark = (/** @type {boolean | null} */ fraud) => async () => {
      try {
        await this.#mark(alert, fraud);
        says.className = "";
        announce(`${nameOf(alert)} is ${fraud === null ? "open again" : `marked ${fraud ? "fraud" : "genuine"}`}`);
      } catch (error) {
        if (!(error instanceof ServerError)) throw error;
        if (!says.isConnected) return put(this.unsaid, h("p", { class: "problem", role: "alert" }, `${nameOf(alert)} was not marked: ${error.says}`));
        says.className = "problem";
        says.textContent = error.says;
      }
    };
    const pressed = (/** @type {boolean} */ fraud) => ({ type: /** @type {const} */ ("button"), class: "quiet", "aria-pressed": String(alert.label?.fraud === fraud), onclick: mark(fraud) });
    says.textContent = alert.label ? `Last label: ${word(alert)}, by ${alert.label.source}, ${clock(alert.label.event_time)} UTC.` : "Nobody has labelled it yet.";
    fill(this.detail,
      h("div", { class: "row between" }, h("h3", {}, "Transaction ", h("bdi", {}, nameOf(alert))),
        h("p", { class: "row" }, h("button", { type: "button", class: "quiet", onclick: () => this.#next() }, "Next"),
          h("button", { type: "button", class: "quiet", onclick: () => this.#close() }, "Close"))),
      h("p", { class: "row" }, h("span", { class: `level ${alert.risk_level}` }, alert.risk_level), h("strong", {}, percent(alert.score)), "probability of fraud",
        h("span", { class: "hint" }, `scored ${clock(alert.scored_at)} UTC`, alert.transaction_time && ` · time ${alert.transaction_time}`, alert.decision && ` · decision: ${alert.decision}`)),
      h("p", { class: "buttons", role: "group", "aria-label": "What it was" },
        h("button", pressed(true), "Fraud"), h("button", pressed(false), "Genuine"),
        marked && h("button", { type: "button", class: "quiet", onclick: mark(null) }, "Take back")),
      says,
      h("p", { class: "hint" }, "With the focus in this case: F fraud, G genuine, N next, Escape closes. Your label is stored with the source “analyst”."),
      problem && h("p", { class: "problem" }, problem),
      alert.reasons?.length ? bars({ title: "What the score rests on", head: ["field", "share"], bars: alert.reasons.map(({ feature, value, share }) =>
        ({ label: feature, value: share, text: percent(share), note: value === null ? "missing" : shownValue(value) })) }) : h("p", { class: "hint" }, "The record has no reasons: serving.record_reasons=5 keeps them."),
      alert.inputs && this.#inputs(alert.inputs));
    this.current = { alert, fraud: mark(true), genuine: mark(false) };
  }

  /** @param {Record<string, any>} inputs */
  #inputs(inputs) {
    const known = Object.entries(inputs).filter(([, value]) => value !== null);
    const search = h("input", { type: "search", id: unique("field"), oninput: () => draw() });
    const rows = h("div");
    const draw = () => {
      const text = search.value.trim().toLowerCase();
      const found = known.filter(([name, value]) => !text || name.toLowerCase().includes(text) || textOf(value).toLowerCase().includes(text));
      fill(rows, table(`${short(found.length)} of ${short(known.length)} fields with a value; ${short(Object.keys(inputs).length - known.length)} are missing. Hashes stand for values that the record does not keep.`,
        ["field", "value"], found.map(([name, value]) => [h("bdi", {}, name), h("bdi", {}, shownValue(textOf(value)))])));
    };
    draw();
    return h("details", {}, h("summary", {}, "Inputs as recorded"), h("p", {}, h("label", { for: search.id }, "Search the fields"), search), rows);
  }

  /**
   * @param {Alert} alert
   * @param {boolean | null} fraud null takes the word back
   */
  async #mark(alert, fraud) {
    const { transaction_id: id, request_id, position } = alert;
    const numeric = this.idType === "integer" || this.idType === "number";
    const byId = id !== null && (!numeric || /^-?\d+$/.test(id));
    const which = byId ? { id: numeric ? new Digits(id) : id } : { request_id, position };
    await this.server.ask("labels", { body: [{ ...which, source: "analyst", ...(fraud === null ? { reversal: true } : { fraud }) }] });
    await this.#refresh();
    if (this.open !== keyOf(alert)) return; // another case is looked at by now
    const now = this.told.alerts.find((each) => keyOf(each) === keyOf(alert));
    this.#detail({ ...alert, label: now?.label ?? { fraud, source: "analyst", event_time: new Date().toISOString() } });
    this.detail.focus({ preventScroll: true });
  }

  #close() {
    const key = this.open;
    this.open = "";
    this.current = undefined;
    fill(this.detail);
    this.detail.hidden = true;
    this.#draw();
    [...this.list.querySelectorAll("button")].find((each) => each.dataset.key === key)?.focus();
  }

  /** Opens the case after the one at hand, in the list as it is filtered. */
  #next() {
    const all = [...this.told.alerts].sort(ORDERS[this.order.select.value][1]);
    const wanted = new Set(this.#wanted().map(keyOf));
    const at = all.findIndex((alert) => keyOf(alert) === this.open);
    const next = all.slice(at + 1).find((alert) => wanted.has(keyOf(alert)));
    if (next) void this.#look(next);
    else announce("There is no further case in this list");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
    const act = { f: this.current?.fraud, g: this.current?.genuine, n: () => this.#next(), escape: () => this.#close() }[event.key.toLowerCase()];
    if (act) {
      event.preventDefault();
      void act();
    }
  }
}

/** @param {Alert} alert */
function reason(alert) {
  const first = alert.reasons?.[0];
  return first ? `${first.feature} = ${first.value === null ? "missing" : shownValue(first.value)}` : "–";
}

/** @param {string} value a number in few digits, a hash by its beginning */
function shownValue(value) {
  if (HASH.test(value)) return `hash ${value.slice(0, 8)}…`;
  return /^-?\d+\.\d{5,}$/.test(value) ? short(Number(value)) : value;
}
