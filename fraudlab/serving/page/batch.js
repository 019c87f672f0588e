/** The view Batch: a CSV file of any size is scored in requests that the server takes, and what came of it is shown. */

import { bare, layoutOf, rowsOf } from "./csv.js";
import { announce, fill, h, put, unique } from "./dom.js";
import { percent, short } from "./numbers.js";
import { Records, piecesOf } from "./records.js";
import { Results, said } from "./results.js";
import { Scores } from "./scored.js";
import { Sender } from "./sender.js";
import { ServerError } from "./server.js";

/**
 * @typedef {import("./server.js").Server} Server
 * @typedef {import("./csv.js").Layout} Layout
 */

const AT_ONCE = 4; // requests
const PATIENCE = 60_000; // milliseconds for an answer, then the connection counts as lost
const REDRAW = 400;
const REASONS = [3, 5, 10, 0];
const LOOKED_AT = 2000; // rows, for how numbers are written

/** @type {Record<import("./sender.js").State["name"], string>} */
const STATES = {
  running: "Scoring.",
  waiting: "The server is busy; waiting for as long as it asks.",
  away: "No connection to the server.",
  paused: "Paused.",
  halted: "Stopped by the server",
  ended: "Done.",
  stopped: "Stopped.",
};

/**
 * @param {HTMLElement} root
 * @param {Server} server
 */
export async function mount(root, server) {
  await server.info(); // without the contract there is nothing to choose a file for
  const input = h("input", { type: "file", class: "hidden", accept: ".csv,.tsv,.txt,.psv,text/csv", id: unique("file"), onchange: () => take(input.files) });
  const chosen = h("div");
  const running = h("div");
  const drop = h("div", { class: "drop" }, input,
    h("label", { for: input.id }, "Drop a CSV file here, or ", h("span", { class: "button quiet" }, "choose one")),
    h("p", { class: "hint" }, "It has a header with the names of the contract's fields, in any order, and may be of any size. " +
      "The file stays in this tab: only the records go to the server, in the body of requests."));
  root.append(h("h2", {}, "Batch"), h("section", { class: "card", "aria-label": "File" }, drop, chosen), running);

  for (const name of ["dragover", "dragenter", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover" || name === "dragenter");
    });
  }
  drop.addEventListener("drop", (event) => take(event.dataTransfer?.files ?? null));
  /** @type {Run | null} */
  let run = null;
  let taken = 0;
  addEventListener("beforeunload", (event) => {
    if (run?.busy) event.preventDefault();
  });

  /** @param {FileList | null} files */
  async function take(files) {
    const file = files?.[0];
    if (!file) return;
    input.value = ""; // so that the same file can be chosen again, once it is corrected
    if (run?.busy) return fill(chosen, h("p", { class: "problem", role: "alert" }, "Stop the present file before you choose another one."));
    fill(chosen); // the form of the previous file: it must not start while this one runs
    fill(running);
    const mine = ++taken;
    try {
      const [layout, info] = [await layoutOf(file), await server.info()];
      const ready = await form(file, layout, info, start, server);
      if (mine !== taken) return; // another file was chosen meanwhile
      fill(chosen, ready);
      announce(`${file.name} is ready to be scored`);
    } catch (error) {
      if (mine === taken) fill(chosen, h("p", { class: "problem", role: "alert" }, said(error)));
    }
  }

  /** @param {Run} next */
  async function start(next) {
    if (run?.busy) return; // a second click
    run = next;
    fill(running, next.root);
    await next.go();
  }
}

/**
 * What the file has, and how it is to be scored.
 * @param {File} file
 * @param {Layout} layout
 * @param {any} info
 * @param {(run: Run) => Promise<void>} start ends when the run does
 * @param {Server} server
 */
async function form(file, layout, info, start, server) {
  const fields = info.schema.fields;
  const records = new Records(fields, layout.names);
  const decimal = records.columns.some(({ field }) => field.type === "number") ? await decimalOf(file, layout, records) : ".";
  const reference = await server.ask("scores?hours=1", { quiet: true }).catch(() => null); // a bundle of old has none
  const button = h("button", { type: "submit" }, "Score the file");
  const comma = h("select", { id: unique("decimal") }, [".", ","].map((sign) =>
    h("option", { value: sign, selected: sign === decimal }, sign === "." ? "a point: 12.50" : "a comma: 12,50")));
  const reasons = h("select", { id: unique("reasons") }, (info.explains ? REASONS : [0]).map((count) =>
    h("option", { value: count }, count ? `the ${count} strongest` : info.explains ? "none (faster)" : "the model gives none")));
  const keep = h("input", { type: "checkbox", id: unique("keep") });
  const names = { ",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars" };
  const required = records.lacking.filter((field) => field.required);
  const wrong = !records.columns.length
    ? [["No column of the header is a field of the contract; the header is: ", h("bdi", {}, layout.names.slice(0, 8).join(", ")), "."]]
    : [
      ...records.alike.map(([name, field]) => ["The column ", h("bdi", {}, name), " may stand for ", h("bdi", {}, field), ", which the file lacks: rename it."]),
      ...required.map((field) => ["The file lacks the column ", h("bdi", {}, field.name), ", which each row must have", field.why ? `: ${field.why}` : "", "."]),
    ];
  return h("div", { class: "chosen" },
    h("p", {}, h("strong", {}, h("bdi", {}, file.name)), ` · ${bytes(file.size)} · cells separated by ${/** @type {any} */ (names)[layout.separator] ?? layout.separator} · `,
      `${records.columns.length} of ${fields.length} fields`),
    listed("Fields that the file lacks count as missing", records.lacking.filter((field) => !field.required).map((field) => field.name)),
    listed("Columns that are no fields are not sent", records.aside),
    wrong.length > 0 && h("ul", { class: "problem", role: "alert" }, wrong.slice(0, 10).map((words) => h("li", {}, words)),
      wrong.length > 10 && h("li", {}, `… and ${wrong.length - 10} more`)),
    wrong.length === 0 && h("form", {
      class: "options",
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        const sign = /** @type {"." | ","} */ (comma.value);
        button.disabled = true; // until the run ends
        await start(new Run(server, info, file, layout, new Records(fields, layout.names, sign), { explain: Number(reasons.value), keep: keep.checked, reference }));
        button.disabled = false;
      },
    },
    h("p", {}, h("label", { for: comma.id }, "Numbers are written with"), comma),
    h("p", {}, h("label", { for: reasons.id }, "Reasons of each row"), reasons),
    h("p", { class: "wide" }, keep, " ", h("label", { for: keep.id }, "These are new transactions: record them"),
      h("span", { class: "hint" }, " Otherwise they leave no trace in record, history, drift and alerts.")),
    h("p", { class: "buttons wide" }, button)));
}

/**
 * The sign that the first rows' numbers have. Before three digits it may separate thousands, so that others count first.
 * @param {File} file
 * @param {Layout} layout
 * @param {Records} records
 * @returns {Promise<"." | ",">}
 */
async function decimalOf(file, layout, records) {
  const numbers = records.columns.filter(({ field }) => field.type === "number");
  const seen = { ".": 0, ",": 0 };
  for await (const row of rowsOf(file, layout)) {
    for (const { place } of numbers) {
      const found = /^[+-]?[\d.,]*([.,])(\d+)$/.exec(bare(row.cells[place] ?? ""));
      if (found) seen[/** @type {"." | ","} */ (found[1])] += found[2].length === 3 ? 1 : 1e6;
    }
    if (row.number >= LOOKED_AT) break;
  }
  return seen[","] > seen["."] ? "," : ".";
}

/**
 * @param {string} title
 * @param {string[]} names
 */
function listed(title, names) {
  if (!names.length) return null;
  return h("details", {}, h("summary", {}, `${title}: ${names.length}`), h("p", { class: "hint names" }, names.map((name, n) => [n ? ", " : "", h("bdi", {}, name)]).flat()));
}

/** @param {number} size */
function bytes(size) {
  return size < 1e4 ? `${short(size)} bytes` : size < 1e6 ? `${short(Math.round(size / 1e3))} kB` : `${short(Math.round(size / 1e5) / 10)} MB`;
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 90) return `${Math.max(Math.round(seconds), 1)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** One file on its way. */
class Run {
  /**
   * @param {Server} server
   * @param {any} info
   * @param {File} file
   * @param {Layout} layout
   * @param {Records} records
   * @param {{explain: number, keep: boolean, reference: {edges: number[], reference: number[]} | null}} how
   */
  constructor(server, info, file, layout, records, how) {
    this.server = server;
    this.info = info;
    this.file = file;
    this.layout = layout;
    this.busy = true;
    this.state = /** @type {import("./sender.js").State} */ ({ name: "running" });
    this.done = 0; // bytes of pieces that are settled
    this.active = 0; // milliseconds that it has run
    this.since = performance.now();
    this.path = `predict?explain=${how.explain}${how.keep ? "" : "&dry_run=true"}`;
    this.pieces = piecesOf(rowsOf(file, layout), records, info);
    this.sender = new Sender(this.pieces, (body, signal) => this.#send(body, signal), this.#told(), AT_ONCE);
    this.scores = new Scores(info.decision.operating_points.map((/** @type {any} */ point) => point.threshold), how.reference?.edges);
    this.results = new Results(this.scores, file, layout, info, how.reference?.reference ?? null);
    this.bar = h("progress", { max: 1, value: 0, "aria-label": "Progress" });
    this.says = h("p", { class: "state" });
    this.counts = h("p", { class: "hint" });
    this.pause = h("button", { type: "button", onclick: () => this.#toggle() }, "Pause");
    this.halt = h("button", { type: "button", class: "quiet", onclick: () => this.sender.stop() }, "Stop");
    this.buttons = h("p", { class: "buttons" }, this.pause, this.halt);
    this.root = h("div", {}, h("section", { class: "card", "aria-label": "Progress" }, this.bar, this.says, this.counts, this.buttons), this.results.root);
    this.accepted = new Set([info.bundle_version]); // versions of bundles
    this.swapped = () => {
      const now = this.server.version;
      if (now === null || this.accepted.has(now)) return;
      this.newcomer = now;
      this.sender.halt(`The server has another bundle now, ${now} in place of ${info.bundle_version}. What is scored so far is of the old one. ` +
        "Go on with whichever of them answers (the download names each row's bundle), or stop and begin again.");
    };
  }

  /** @returns {import("./sender.js").Told} */
  #told() {
    return {
      read: (piece) => this.scores.read(piece),
      scored: (records, scores, version) => this.scores.add(records, scores, version),
      refused: (rows) => this.scores.refuse(rows),
      settled: (piece) => {
        this.done += piece.end - piece.start;
      },
      state: (state) => this.#enter(state),
    };
  }

  /**
   * @param {string} text
   * @param {AbortSignal} stop
   * @returns {Promise<import("./sender.js").Answer>}
   */
  async #send(text, stop) {
    try {
      const signal = AbortSignal.any([stop, AbortSignal.timeout(PATIENCE)]);
      return { status: 200, said: await this.server.ask(this.path, { text, signal }), retryAfter: null };
    } catch (error) {
      if (!(error instanceof ServerError) || error.status === 0) throw error;
      // Status 200 is a page of something between here and the server: no scores, which the sender takes as no answer.
      return { status: error.status, said: { error: error.says, problems: error.problems }, retryAfter: error.retryAfter };
    }
  }

  async go() {
    const online = () => this.state.name === "away" && this.sender.resume();
    const drawing = setInterval(() => this.#draw(), REDRAW);
    this.server.addEventListener("bundle", this.swapped);
    this.swapped(); // the form may be of a bundle that does not answer any more
    addEventListener("online", online);
    try {
      await this.sender.run();
    } catch (error) {
      this.#enter({ name: "halted", says: said(error) });
    } finally {
      this.busy = false;
      clearInterval(drawing);
      this.server.removeEventListener("bundle", this.swapped);
      removeEventListener("online", online);
      await this.pieces.return?.(undefined);
      fill(this.buttons, this.scores.rows > 0 && this.results.download);
      this.#draw();
      await this.results.draw(true);
      announce(`${STATES[this.state.name]} ${this.scores.scored} rows scored, ${this.scores.refused} refused`);
    }
  }

  async #toggle() {
    if (this.state.name !== "halted" && this.state.name !== "paused") return this.sender.pause();
    try {
      const now = await this.server.info();
      if (contract(now) !== contract(this.info)) return this.sender.halt("The new bundle takes other fields than the old one. Stop, and choose the file again.");
      this.accepted.add(now.bundle_version);
      if (this.newcomer) this.accepted.add(this.newcomer);
      this.sender.resume();
    } catch (error) {
      this.sender.halt(said(error));
    }
  }

  /** @param {import("./sender.js").State} state */
  #enter(state) {
    const stands = ["paused", "halted", "ended", "stopped"];
    const now = performance.now();
    if (!stands.includes(this.state.name)) this.active += now - this.since;
    this.since = now;
    if (state.name !== this.state.name && ["away", "halted"].includes(state.name)) announce(state.says || STATES[state.name]);
    this.state = state;
    this.pause.textContent = stands.includes(state.name) ? "Go on" : "Pause";
    this.#draw();
  }

  #draw() {
    const { name, says } = this.state;
    const share = this.file.size ? (this.done + this.layout.start) / this.file.size : 1;
    this.bar.value = name === "ended" ? 1 : Math.min(share, 1);
    const away = name === "away" && " It is tried again by itself; nothing is lost.";
    fill(this.says, ((name === "halted" || away) && says) || STATES[name], away);
    this.says.classList.toggle("problem", name === "halted" || name === "away");
    const seconds = (this.active + (["paused", "halted", "ended", "stopped"].includes(name) ? 0 : performance.now() - this.since)) / 1000;
    const settled = this.scores.scored + this.scores.refused;
    const rate = settled / Math.max(seconds, 0.1);
    const left = this.done ? ((this.file.size - this.layout.start - this.done) / this.done) * seconds : null;
    fill(this.counts);
    put(this.counts, `${short(this.scores.scored)} rows scored`, this.scores.refused > 0 && ` · ${short(this.scores.refused)} refused`,
      ` · ${percent(this.bar.value)} of the file`, settled > 0 && ` · ${short(Math.round(rate))} rows/s`,
      this.busy && left !== null && ` · about ${duration(left)} left`, !this.busy && ` · ${duration(seconds)}`);
    void this.results.draw(false);
  }
}

/**
 * What a file's columns are read by.
 * @param {any} info
 */
function contract(info) {
  return JSON.stringify(info.schema.fields.map((/** @type {any} */ { name, type, required }) => [name, type, required]));
}
