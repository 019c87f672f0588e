/** One transaction: typed, pasted or an example; its score, what that rests on, and what would change it. */

import { bars, scale } from "./charts.js";
import { announce, fill, h, unique } from "./dom.js";
import { copied, recordOf, RecordForm } from "./form.js";
import { percent, read, short, textOf, write } from "./numbers.js";
import { ServerError } from "./server.js";
import { curl, python } from "./snippets.js";
import { columnOf, place, rank } from "./training.js";
import { whatIf } from "./whatif.js";

/** @typedef {{field: string, value: any, share: number, contribution: number | null, unseen?: true}} Reason */

const WORDS = { low: "Low risk", medium: "Medium risk", high: "High risk" };
const ASKED = 40; // reasons
const SHOWN = 8;

/**
 * A value's text with few decimals; whole numbers keep all digits.
 * @param {any} value
 */
function few(value) {
  const text = textOf(value);
  return /^-?\d+\.\d{5,}$/.test(text) ? String(Number(Number(text).toPrecision(6))) : text;
}

/**
 * @param {HTMLElement} root
 * @param {import("./server.js").Server} server
 */
export async function mount(root, server) {
  const says = h("div", { class: "says" });
  const shown = h("div", { class: "result", tabindex: -1, role: "region", "aria-label": "Answer" });
  const button = h("button", { type: "submit" }, "Score");
  const place_ = h("div", {});
  const examples = h("div", { class: "row examples" });
  const aside = h("p", { class: "hint", hidden: true });
  const pasted = h("textarea", { id: unique("json"), rows: 4, spellcheck: "false", placeholder: '{"field": value, …}' });
  const paste = h("details", { class: "paste" }, h("summary", {}, "Paste a record as JSON"),
    h("label", { for: pasted.id }, "Record"), pasted,
    h("p", { class: "buttons" }, h("button", { type: "button", class: "quiet", onclick: takePasted }, "Fill the form")));
  const form = h("form", { novalidate: true, onsubmit: (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    void score();
  } }, place_, h("p", { class: "buttons sticky" }, button, h("button", { type: "button", class: "quiet", onclick: clear }, "Clear")));
  fill(root, h("h2", {}, "Score"), h("div", { class: "columns" },
    h("div", { class: "card" }, h("h3", {}, "Transaction"), examples, paste, aside, form),
    h("div", { class: "card" }, says, shown)));
  fill(shown, h("p", { class: "hint" }, "Take an example, paste a record or fill in the form; its score then appears here. Nothing tried here enters the record, the history or the counts of alerts."));

  /** @type {RecordForm} */
  let fields;
  /** @type {any} */
  let info;
  /** By version of the bundle. @type {Map<string, import("./training.js").Training | null>} */
  const trainings = new Map();
  let asking = 0;

  /**
   * Takes up the bundle that answers now. Where its fields are others the form is made anew, with what was typed before.
   * @returns {Promise<boolean>} whether they are
   */
  async function build() {
    const now = await server.info();
    const version = now.bundle_version;
    const fresh = !trainings.has(version);
    if (fresh) {
      const told = await optional("training");
      trainings.set(told?.bundle_version ?? version, told); // two bundles may answer in turn
    }
    const training = trainings.get(version) ?? null;
    const other = !info || write(now.schema.fields) !== write(info.schema.fields);
    info = now;
    if (other) {
      asking += 1; // an answer that is on its way is to the former fields
      const before = fields?.texts ?? new Map();
      fields = new RecordForm(info.schema.fields, training, () => shown.classList.add("stale"));
      fill(place_, fields.root);
      if (before.size) fields.put(before);
      tellLeft();
    } else {
      fields.learn(training);
    }
    if (fresh) await proposeExamples();
    return other;
  }

  /**
   * What the key may not read is done without.
   * @param {string} path
   */
  async function optional(path) {
    try {
      return await server.ask(path);
    } catch (error) {
      if (error instanceof ServerError && (error.status === 403 || error.status === 404)) return null;
      throw error;
    }
  }

  async function proposeExamples() {
    const found = await optional("examples");
    if (!found) {
      fill(examples, h("p", { class: "hint" }, "Examples are for keys with the scope read."));
      return;
    }
    fill(examples, h("span", {}, "Examples:"), found.examples.map((/** @type {any} */ { risk_level, score: expected, record }) =>
      h("button", { type: "button", class: `quiet example ${risk_level}`, title: `scores ${percent(expected)}`, onclick: () => {
        fields.putRecord(record);
        tellLeft();
        void score();
      } }, `${risk_level} ${percent(expected)}`)));
  }

  function tellLeft() {
    const names = [...fields.left.keys()];
    aside.hidden = !names.length;
    fill(aside, names.length > 0 && `Left aside, since the bundle has no such field: ${names.slice(0, 8).join(", ")}${names.length > 8 ? ` and ${names.length - 8} more` : ""}.`);
  }

  function takePasted() {
    try {
      const said = read(pasted.value);
      const record = recordOf(said);
      if (!record) throw new SyntaxError("it is no object");
      fields.putRecord(record);
      tellLeft();
      fill(says, Array.isArray(said) && said.length > 1 && h("p", { class: "hint" }, `This is the first of ${said.length} records. The view Batch scores all of them.`));
      paste.open = false;
      button.focus();
    } catch (error) {
      tell(`This is no record in JSON: ${error instanceof Error ? error.message : error}`);
    }
  }

  function clear() {
    fields.put(new Map());
    tellLeft();
    fill(says);
  }

  /** @param {(string | HTMLElement | false)[]} lines */
  function tell(...lines) {
    fill(says, h("div", { class: "problem", role: "alert" }, lines.map((each) => each !== false && h("p", {}, each))));
  }

  async function score() {
    fill(says);
    const record = fields.record();
    if (!record) {
      tell("Some values do not have the type of their field; they are marked.");
      return;
    }
    const mine = (asking += 1);
    button.disabled = true;
    try {
      const path = `predict?dry_run=true${info.explains ? `&explain=${ASKED}` : ""}`;
      const [answer, scores] = await Promise.all([server.ask(path, { body: record }), optional("scores")]);
      await renewing; // it may have come from another bundle
      if (mine === asking) result(record, answer, scores);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      await renewing;
      if (mine !== asking) return;
      const others = fields.show(error.problems);
      tell(error.problems.length && !others.length ? "The server does not take some values; they are marked." : error.says, ...(error.problems.length > 1 ? others : []));
    } finally {
      button.disabled = false;
    }
  }

  /**
   * @param {Record<string, any>} record
   * @param {{score: number, risk_level: "low" | "medium" | "high", bundle_version: string, reasons?: Reason[], without_history?: boolean, rule?: "money" | "thresholds", spread?: {low: number, high: number}}} answer
   * @param {any} scores
   */
  function result(record, answer, scores) {
    const its = server.infoOf(answer.bundle_version) ?? info;
    const training = trainings.get(answer.bundle_version) ?? null;
    const { thresholds, budget, money } = its.decision;
    const level = answer.risk_level;
    const byMoney = answer.rule === "money" && money;
    // From which score on there is an alert; unknown where the record has not the amount itself.
    const pays = byMoney ? money.admin_cost / (money.recovery_share * Number(record[money.amount])) : thresholds.medium;
    const starts = { medium: Math.min(pays, 1), high: Math.min(Math.max(pays, thresholds.high), 1) };
    const mark = (/** @type {"medium" | "high"} */ name) =>
      ({ at: starts[name], label: byMoney ? name : `${name}: ${short(budget[name])} in 1,000`, tone: name });
    const marks = /** @type {const} */ (["medium", "high"]).filter((name) => starts[name] < 1).map(mark);
    const bands = Number.isNaN(pays) ? [] : /** @type {const} */ ([["low", 0, starts.medium], ["medium", starts.medium, starts.high], ["high", starts.high, 1]])
      .map(([tone, from, to]) => ({ tone, from, to }));
    const alerts = (/** @type {"medium" | "high"} */ name) => `about ${short(budget[name])} in 1,000 transactions`;
    const why = {
      low: `Below ${percent(thresholds.medium)}. From there on a transaction gets an alert, ${alerts("medium")} in all.`,
      medium: `At or above ${percent(thresholds.medium)}, where alerts begin (${alerts("medium")}), and below ${percent(thresholds.high)}, where the risk is high (${alerts("high")}).`,
      high: `At or above ${percent(thresholds.high)}, the highest level: ${alerts("high")}.`,
    }[level];
    const expected = byMoney && `what it is expected to save, the score times ${money.recovery_share === 1 ? "the amount" : `${percent(money.recovery_share)} of the amount`}`;
    const paid = byMoney && {
      low: `Not worth an alert: ${expected}, is at most what an alert costs, ${short(money.admin_cost)}.`,
      medium: `Worth an alert: ${expected}, is above what it costs, ${short(money.admin_cost)}. The risk is high from ${percent(thresholds.high)} on.`,
      high: `Worth an alert: ${expected}, is above what it costs, ${short(money.admin_cost)}. The risk is high: at or above ${percent(thresholds.high)}.`,
    }[level];
    const { spread } = answer;
    const otherLevel = spread && [starts.medium, starts.high].some((at) => at < 1 && (spread.low < at) !== (spread.high < at));
    const reasons = answer.reasons ?? [];
    const same = server.address(`predict?dry_run=true${its.explains ? "&explain=5" : ""}`);
    shown.classList.remove("stale");
    fill(shown,
      h("h3", {}, "Probability of fraud"),
      h("p", { class: "row" }, h("span", { class: "big" }, percent(answer.score)), h("span", { class: `level ${level}` }, WORDS[level])),
      scale({ title: "", value: answer.score, marks, bands, spread }),
      spread && h("p", {}, `The members of the model give from ${percent(spread.low)} to ${percent(spread.high)}${otherLevel ? ", not all of them this level" : ""}.`),
      h("p", {}, paid || why),
      answer.rule === "thresholds" && h("p", { class: "hint" }, "The amount is missing or below 0, so the score alone decides."),
      server.versions.size > 1 && h("p", { class: "hint" }, "Scored by the bundle ", h("code", {}, answer.bundle_version),
        its.bundle_version !== answer.bundle_version && `; the thresholds are those of ${its.bundle_version}`, "."),
      scores ? h("p", {}, rank(scores, answer.score)) : h("p", { class: "hint" }, "How it ranks among other scores is not known: the bundle has no reference statistics."),
      answer.without_history && h("p", { class: "problem" }, "The history does not answer: this was scored as the first transaction of its card."),
      reasons.length ? because(reasons, record, training) : h("p", { class: "hint" }, "This model does not say what a score rests on."),
      whatIf({ server, info: its, training, record, first: reasons.map(({ field }) => field), use: (name, value) => {
        fields.set(name, value);
        void score();
      } }),
      h("details", { class: "same" }, h("summary", {}, "Ask the same from elsewhere"),
        copied("curl", curl(same, record)), copied("Python", python(same, record))));
    announce(`${WORDS[level]}, ${percent(answer.score)}`);
    if (matchMedia("(max-width: 56rem)").matches) shown.scrollIntoView({ block: "start" });
  }

  /**
   * @param {Reason[]} reasons
   * @param {Record<string, any>} record
   * @param {import("./training.js").Training | null} training
   */
  function because(reasons, record, training) {
    const signed = reasons.some(({ contribution }) => contribution !== null);
    const known = new Map(info.schema.fields.map((/** @type {any} */ field) => [field.name, field]));
    const rows = reasons.map(({ field, value, share, contribution, unseen }) => {
      const missing = value === null || value === undefined;
      const own = known.has(field) && Object.hasOwn(record, field) ? record[field] : value; // with the digits that were typed
      const where = unseen ? "not seen in the training rows" : place(columnOf(training, field), value);
      return {
        label: missing ? field : `${field} = ${few(own)}`,
        note: where ?? (missing ? "missing" : undefined),
        value: contribution ?? share,
        text: `${percent(share)}${contribution === null ? "" : contribution > 0 ? ", for fraud" : ", against"}`,
        tone: /** @type {"high" | "low" | "accent"} */ (contribution === null ? "accent" : contribution > 0 ? "high" : "low"),
      };
    });
    const chart = (/** @type {number} */ count) => bars({ title: "What it rests on", bars: rows.slice(0, count), signed });
    const holder = h("div", {}, chart(SHOWN));
    const more = rows.length > SHOWN && h("button", { type: "button", class: "quiet", onclick: (/** @type {Event} */ event) => {
      fill(holder, chart(rows.length));
      /** @type {HTMLElement} */ (event.target).remove();
    } }, `Show ${rows.length}`);
    return h("section", {}, holder, more,
      signed && h("p", { class: "hint" }, "Bars to the right speak for fraud, bars to the left against it."));
  }

  let renewing = Promise.resolve();
  let waits = false; // a renewal
  let first = false; // it is for a bundle that had not answered before
  async function renew() {
    const swapped = first;
    waits = first = false;
    try {
      const other = await build();
      if (other) fill(shown);
      else if (swapped) shown.classList.add("stale");
      else return;
      fill(says, h("p", { class: "notice", role: "status" }, "The server has another bundle now. ",
        other ? "The form has its fields, with what you typed; score it again." : "It takes the same fields."));
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      tell(error.says);
    }
  }
  const later = () => {
    if (waits) return;
    waits = true;
    renewing = renewing.then(renew);
  };
  await build();
  server.addEventListener("bundle", (event) => {
    first ||= /** @type {CustomEvent} */ (event).detail.first;
    later();
  });
  server.addEventListener("key", () => {
    trainings.clear(); // and examples: the key may read more than the former one, or less
    later();
  });
}
