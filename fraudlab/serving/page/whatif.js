/** What if a field had another value: how the score moves. */

import { bars, line, ofLogOdds, onLogOdds } from "./charts.js";
import { fill, h, unique } from "./dom.js";
import { percent, short, textOf } from "./numbers.js";
import { ServerError } from "./server.js";
import { columnOf, valuesToTry } from "./training.js";

/**
 * @typedef {import("./numbers.js").Field} Field
 * @typedef {{score: number, risk_level: "low" | "medium" | "high"}} Scored
 */

const MOST = 60; // values of a field that are tried

/**
 * A field to choose and a chart of the scores that its values give.
 * @param {{server: import("./server.js").Server, info: any, training: import("./training.js").Training | null,
 *   record: Record<string, any>, first: string[], use: (name: string, value: any) => void}} it `first`: fields that are
 *   proposed before the others; `use` takes a value over into the form
 */
export function whatIf({ server, info, training, record, first, use }) {
  /** @type {Field[]} */
  const fields = info.schema.fields.filter((/** @type {Field} */ { role }) => role !== "id");
  const now = (/** @type {string} */ name) => (Object.hasOwn(record, name) ? record[name] : null);
  const most = Math.min(MOST, info.max_records);
  const tried = (/** @type {Field} */ field) => valuesToTry(field, columnOf(training, field.name), now(field.name), most);
  const chosen = fields.filter(({ name }) => first.includes(name)).sort((one, other) => first.indexOf(one.name) - first.indexOf(other.name))
    .filter((field) => tried(field).length > 2).map(({ name }) => name);
  const others = fields.map(({ name }) => name).filter((name) => !chosen.includes(name));
  const id = unique("what-if");
  const option = (/** @type {string} */ name) => h("option", { value: name }, name);
  const select = h("select", { id, onchange: () => void draw() },
    chosen.length > 0 && h("optgroup", { label: "It rests on" }, chosen.map(option)),
    h("optgroup", { label: "All fields" }, others.map(option)));
  const shown = h("div", { "aria-live": "polite" });
  /** @type {AbortController | null} */
  let asked = null;

  async function draw() {
    const field = fields.find(({ name }) => name === select.value);
    if (!field) return;
    asked?.abort();
    const own = (asked = new AbortController());
    const values = tried(field);
    const rows = values.map((value) => Object.fromEntries([...Object.entries(record).filter(([name]) => name !== field.name), ...(value === null ? [] : [[field.name, value]])]));
    if (!rows.length) {
      fill(shown, h("p", { class: "hint" }, "Nothing is known of this field's values. Type one in the form."));
      return;
    }
    shown.setAttribute("aria-busy", "true");
    try {
      const said = await server.ask("predict?dry_run=true", { body: rows, signal: own.signal });
      fill(shown, drawn(field, values, said.predictions, now(field.name)));
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return;
      if (!(error instanceof ServerError)) throw error;
      fill(shown, h("p", { class: "problem" }, error.problems[0]?.problem ?? error.says));
    } finally {
      shown.removeAttribute("aria-busy");
    }
  }

  /**
   * @param {Field} field
   * @param {any[]} values
   * @param {Scored[]} scored
   * @param {any} present
   */
  function drawn(field, values, scored, present) {
    const same = (/** @type {any} */ value) => textOf(value) === textOf(present);
    const take = (/** @type {any} */ value) => h("button", { type: "button", class: "quiet", onclick: () => use(field.name, value) }, "Use this value");
    if (values.length > 2 && values.every((value) => typeof value === "number" || typeof value === "bigint")) return curve(field, values, scored, present, take);
    const rows = values.map((value, i) => ({
      label: `${value === null ? "missing" : textOf(value)}${same(value) ? " (now)" : ""}`, value: scored[i].score,
      text: `${percent(scored[i].score)}, ${scored[i].risk_level}`, tone: scored[i].risk_level }));
    return [bars({ title: `Score by ${field.name}`, bars: rows, head: [field.name, "score"] })];
  }

  /**
   * @param {Field} field
   * @param {(number | bigint)[]} values
   * @param {Scored[]} scored
   * @param {any} present
   * @param {(value: any) => HTMLElement} take
   */
  function curve(field, values, scored, present, take) {
    const at = values.findIndex((value) => present !== null && value === (typeof present === "bigint" ? present : Number(present)));
    const { thresholds, money } = info.decision;
    const lowest = Math.min(...scored.map(({ score }) => score));
    const highest = Math.max(...scored.map(({ score }) => score));
    const near = (/** @type {number} */ threshold) => threshold <= Math.max(1.5 * highest, 0.002) && threshold >= lowest / 4;
    const marks = /** @type {const} */ (["medium", "high"]).filter((level) => !money && near(thresholds[level])) // money decides by the amount, too
      .map((level) => ({ at: onLogOdds(thresholds[level]), label: level, tone: level }));
    const chart = line({ title: `Score by ${field.name}`, marks, cursor: at < 0 ? null : at,
      series: [{ name: "score", points: scored.map(({ score }, i) => ({ x: i, y: onLogOdds(score) })) }],
      x: (value) => short(values[Math.round(value)]), y: (value) => percent(ofLogOdds(value)) });
    const says = h("output", {});
    const using = h("span", {});
    const slider = h("input", { type: "range", min: 0, max: values.length - 1, step: 1, value: Math.max(at, 0), "aria-label": `Value of ${field.name}`, oninput: told });
    function told() {
      const i = Number(slider.value);
      slider.setAttribute("aria-valuetext", short(values[i]));
      fill(says, h("bdi", {}, field.name), ` = ${short(values[i])}: `, h("strong", {}, percent(scored[i].score)), ", ", h("span", { class: scored[i].risk_level }, scored[i].risk_level));
      fill(using, take(values[i]));
    }
    told();
    return [chart, h("p", { class: "hint" }, "Values are spaced by their frequency in the training rows."), slider, h("p", { class: "row" }, says, using)];
  }

  const root = h("section", { class: "what-if" }, h("h3", {}, "What if"),
    h("p", { class: "row" }, h("label", { for: id }, "this field had another value:"), select), shown);
  void draw();
  return root;
}
