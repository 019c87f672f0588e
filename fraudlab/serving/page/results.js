/** What came of a file: alerts at each budget, a histogram, rows by score, rows that were refused, the download. */

import { histogram } from "./charts.js";
import { FileError, isFormula, lineOf, rowsOf } from "./csv.js";
import { fill, h, put, table } from "./dom.js";
import { percent, short } from "./numbers.js";
import { LEVELS, above, reasonsText, ruleOf } from "./scored.js";
import { ServerError } from "./server.js";

const PAGE = 25; // rows
const WAIT = 1500; // milliseconds between two drawings while rows come
const SHARE = 0.05; // of the time, at most, that drawing takes while rows come
const STEP = 0.5; // of log-odds, a bin
const END = 9; // where the bins of scores end
const WRITTEN = 1 << 20; // characters that are put aside at once

/**
 * What went wrong with a file, in words.
 * @param {unknown} error
 */
export function said(error) {
  if (error instanceof FileError) return error.message;
  if (error instanceof ServerError) return error.says;
  if (error instanceof DOMException) return "The file cannot be read any more: it was changed or taken away. Choose it again.";
  return String(error);
}

/** @param {unknown} value of a reason, for people */
function shownValue(value) {
  if (value === null) return "missing";
  return typeof value === "number" || typeof value === "bigint" ? short(value) : String(value);
}

/** @param {number} value */
function tenth(value) {
  return short(Math.round(10 * value) / 10);
}

export class Results {
  /**
   * @param {import("./scored.js").Scores} scores
   * @param {File} file
   * @param {import("./csv.js").Layout} layout
   * @param {any} info
   * @param {number[] | null} reference counts of scores by the same edges
   */
  constructor(scores, file, layout, info, reference) {
    this.scores = scores;
    this.file = file;
    this.layout = layout;
    this.info = info;
    this.reference = reference;
    this.page = 0;
    this.level = 0;
    this.next = 0; // when it is drawn again
    this.drawing = 0;
    this.told = /** @type {HTMLElement | null} */ (null); // what is said of the download
    this.overview = h("div");
    this.rows = h("div", { class: "rows" });
    this.pager = h("p", { class: "row" });
    this.refusals = h("section", { class: "card", "aria-label": "Refused rows", hidden: true });
    const choice = h("select", { "aria-label": "Rows shown", onchange: () => this.#choose(Number(choice.value)) },
      ["all rows", "", "level medium", "level high"].map((name, level) => name && h("option", { value: level }, name)));
    this.table = h("section", { class: "card", "aria-label": "Rows by score", hidden: true },
      h("div", { class: "row between" }, h("h3", {}, "Rows by score"), choice), this.rows, this.pager);
    this.download = h("button", { type: "button", onclick: () => this.save() }, "Download the scored file");
    this.root = h("div", {}, this.overview, this.table, this.refusals);
    this.roles = ["id", "time", "amount"].flatMap((role) => {
      const name = info.schema.fields.find((/** @type {any} */ field) => field.role === role)?.name;
      const place = layout.names.indexOf(name);
      return place < 0 ? [] : [{ name, place }];
    });
  }

  /** @param {boolean} whole draw now, all of it */
  async draw(whole) {
    const now = performance.now();
    if (!whole && (now < this.next || document.hidden)) return;
    this.#overview();
    if (this.scores.scored) await this.#rows();
    this.#refused();
    const took = performance.now() - now;
    this.next = performance.now() + Math.max(WAIT, took / SHARE);
  }

  #overview() {
    const { scores, info } = this;
    if (!scores.scored) return;
    const points = info.decision.operating_points;
    const { thresholds, budget, money } = info.decision; // where money decides, no score is where a level begins
    const shown = points.map((/** @type {any} */ point, /** @type {number} */ n) => {
      const level = money ? undefined : Object.keys(budget).find((name) => thresholds[name] === point.threshold);
      return { ...point, level, alerts: scores.alerts[n], per: (1000 * scores.alerts[n]) / scores.scored };
    });
    const share = (/** @type {number | null} */ value) => (value === null ? "–" : percent(value));
    const rows = shown.map((/** @type {any} */ { threshold, level, alerts, per, precision, recall, alerts_per_1000 }) => [
      h("span", {}, tenth(alerts_per_1000), level && " ", level && h("span", { class: `level ${level}` }, level)),
      percent(threshold), short(Math.round((alerts_per_1000 * scores.scored) / 1000)), short(alerts), tenth(per), share(precision), share(recall)]);
    const head = ["alerts per 1,000 on validation", "score from", "expected here", "alerts here", "per 1,000 here", "precision", "recall"];
    const marks = money ? [] : Object.entries(thresholds).map(([level, at]) => ({ at: Number(at), label: level, tone: /** @type {any} */ (level) }));
    fill(this.overview,
      h("section", { class: "card rows" }, h("h3", {}, "Alerts at each budget"), this.#levels(), table("By the bundle's operating points; precision and recall are those of its validation", head, rows)),
      h("section", { class: "card" }, h("h3", {}, "Scores"), histogram({ title: "", bins: this.#bins(), marks, probability: true, names: ["this file", "the bundle's reference"] })));
  }

  #levels() {
    const { scores, info } = this;
    const counted = { high: scores.byLevel[3], medium: scores.byLevel[2] };
    return h("ul", { class: "facts" }, Object.entries(counted).map(([level, count]) =>
      h("li", {}, h("span", { class: `level ${level}` }, level), " ", h("strong", {}, short(count)), ` of ${short(scores.scored)} rows`)),
    h("li", { class: "hint" }, `Budget: ${short(info.decision.budget.high)} of 1,000 high, ${short(info.decision.budget.medium)} of 1,000 high or medium.`),
    info.decision.money && h("li", { class: "hint" }, `Levels are by money: ${ruleOf(info.decision.money)}. The table below alerts by the score alone.`));
  }

  /** Bins of equal width in log-odds, without the empty ones at both ends. */
  #bins() {
    const { edges, bins: counts, scored } = this.scores;
    const total = this.reference?.reduce((sum, count) => sum + count, 0) || 1;
    const probability = (/** @type {number} */ odds) => 1 / (1 + Math.exp(-odds));
    const found = [];
    let before = 0;
    for (let odds = STEP - END; odds <= END; odds += STEP) {
      const until = odds >= END ? counts.length : above(edges, probability(odds) * (1 + 1e-9));
      const sum = (/** @type {number[]} */ of) => of.slice(before, until).reduce((one, other) => one + other, 0);
      const reference = this.reference ? sum(this.reference) / total : undefined;
      found.push({ from: probability(odds - STEP), to: probability(odds), share: sum(counts) / scored, reference });
      before = until;
    }
    const filled = found.map(({ share, reference }) => share > 0 || (reference ?? 0) > 0);
    return found.slice(filled.indexOf(true), filled.lastIndexOf(true) + 1);
  }

  /** @param {number} level */
  async #choose(level) {
    this.level = level;
    this.page = 0;
    await this.#rows();
  }

  async #rows() {
    const mine = ++this.drawing;
    const pages = Math.max(Math.ceil((this.level ? this.scores.byLevel[this.level] : this.scores.scored) / PAGE), 1);
    this.page = Math.min(this.page, pages - 1);
    const some = this.scores.best((this.page + 1) * PAGE, this.level).slice(this.page * PAGE);
    let shown;
    try {
      shown = await this.#cells(some);
    } catch (error) {
      if (mine !== this.drawing) return;
      this.table.hidden = false;
      return fill(this.rows, h("p", { class: "problem" }, said(error)));
    }
    if (mine !== this.drawing) return; // another page was asked for meanwhile
    const go = (/** @type {number} */ page) => () => {
      this.page = page;
      void this.#rows();
    };
    this.table.hidden = false;
    const focused = document.activeElement instanceof HTMLButtonElement && this.pager.contains(document.activeElement) ? document.activeElement.textContent : null;
    fill(this.rows, table("The highest scores first; line: in the file", ["rank", "score", "level", "line", ...this.roles.map(({ name }) => name), "reasons"], shown));
    fill(this.pager, h("button", { type: "button", class: "quiet", disabled: this.page === 0, onclick: go(this.page - 1) }, "Previous"),
      h("span", {}, `Page ${short(this.page + 1)} of ${short(pages)}`),
      h("button", { type: "button", class: "quiet", disabled: this.page >= pages - 1, onclick: go(this.page + 1) }, "Next"));
    if (focused) [...this.pager.querySelectorAll("button")].find((button) => button.textContent === focused && !button.disabled)?.focus();
  }

  /**
   * A page's table.
   * @param {number[]} rows of the file
   */
  async #cells(rows) {
    const found = [];
    for (const [n, row] of rows.entries()) {
      const rank = short(this.page * PAGE + n + 1);
      let cells = /** @type {string[]} */ ([]);
      let line = 0;
      for await (const each of rowsOf(this.file, this.layout, this.scores.part(row))) if (each.number === row) ({ cells, line } = each);
      const level = LEVELS[this.scores.level[row]];
      const reasons = await this.scores.told(row);
      found.push([rank, percent(this.scores.score[row]), h("span", { class: `level ${level}` }, level), short(line),
        ...this.roles.map(({ place }) => h("bdi", {}, cells[place] ?? "")), h("bdi", {}, reasonsText(reasons, shownValue))]);
    }
    return found;
  }

  #refused() {
    const { refused, firstRefused: rows } = this.scores;
    this.refusals.hidden = !refused;
    if (this.refusals.dataset.count === String(refused)) return;
    this.refusals.dataset.count = String(refused);
    fill(this.refusals, h("h3", {}, "Refused rows"),
      table(`${short(refused)} rows were refused${refused > rows.length ? `, the first ${rows.length} are shown; the download has all` : ""}`,
        ["row", "line", "why"], rows.map(({ row, line, problem }) => [row + 1, line, h("bdi", {}, problem)])));
  }

  /** Gives the scored file to the browser's downloads. */
  async save() {
    const button = this.download;
    button.disabled = true;
    this.told?.remove();
    try {
      const { blob, guarded } = await this.#written();
      const address = URL.createObjectURL(blob);
      h("a", { href: address, download: `${this.file.name.replace(/\.[^.]*$/, "")}_scored.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      this.told = guarded ? h("p", { class: "hint" }, `${short(guarded)} cells begin as formulas do: they have a single quote before them in the download, so that no spreadsheet runs them.`) : null;
    } catch (error) {
      this.told = h("p", { class: "problem", role: "alert" }, said(error));
    } finally {
      button.disabled = false;
      button.textContent = "Download the scored file";
    }
    put(/** @type {Element} */ (button.parentElement), this.told);
  }

  /** The file's rows in their order, with score, level, reasons, bundle and what was refused. */
  async #written() {
    const { scores, layout, file } = this;
    const own = ["score", "risk_level", "reasons", "bundle_version", "refused"].map((name) => {
      while (layout.names.includes(name)) name += "_";
      return name;
    });
    /** @type {Blob[]} */
    const parts = [];
    let guarded = 0;
    let text = (layout.mark ? "\ufeff" : "") + lineOf([...layout.names, ...own], layout.separator);
    for await (const row of rowsOf(file, layout)) {
      const { number } = row;
      const level = LEVELS[scores.level[number] ?? 0];
      const told = await scores.told(number);
      const cells = layout.names.map((_, place) => row.cells[place] ?? "");
      const added = level ? [String(scores.score[number]), level, reasonsText(told), scores.version(number), ""]
        : ["", "", "", "", `${told ?? "not scored"}${row.problem ? `; the line is ${(await file.slice(row.start, row.end).text()).trimEnd()}` : ""}`];
      guarded += cells.filter(isFormula).length;
      text += lineOf([...cells, ...added], layout.separator);
      if (text.length < WRITTEN) continue;
      parts.push(new Blob([text]));
      text = "";
      this.download.textContent = `Writing row ${short(number + 1)} …`;
    }
    return { blob: new Blob([...parts, text], { type: "text/csv" }), guarded };
  }
}
