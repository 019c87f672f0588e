/** The card of the bundle that answers: data, split, metrics, operating points, calibration, what it rests on, limits. */

import { bars, line, ofLogOdds, onLogOdds } from "./charts.js";
import { fill, h, table } from "./dom.js";
import { percent, short } from "./numbers.js";

/** @typedef {import("./dom.js").Child} Child */

const PARTS = { val: "validation", test: "test" };
const TITLES = /** @type {Record<string, string>} */ ({
  roc_auc: "AUC ROC", average_precision: "average precision", fraud_rate: "share of frauds", brier: "Brier score", cost_savings: "savings",
});
const SHOWN = 15; // columns

/**
 * @param {HTMLElement} root
 * @param {import("./server.js").Server} server
 */
export async function mount(root, server) {
  let drawn = ""; // version of the bundle
  let open = false;
  async function draw() {
    const { card, markdown, bundle_version: version } = await server.ask("card");
    drawn = version;
    fill(root, h("h2", {}, "Model"), h("div", { class: "columns" },
      h("div", {}, about(card, version, markdown), measured(card), limits(card)),
      h("div", {}, points(card), calibration(card), importance(card))));
  }
  await draw();
  const anew = () => void draw().catch((error) => fill(root, h("h2", {}, "Model"), h("p", { class: "problem", role: "alert" }, String(error.message))));
  server.addEventListener("bundle", (event) => {
    if (open && /** @type {CustomEvent} */ (event).detail.first) anew();
  });
  return {
    show() {
      open = true;
      if (drawn !== server.version) anew();
    },
    hide() {
      open = false;
    },
  };
}

/**
 * @param {string} title
 * @param {...(Child | Child[])} children
 */
function block(title, ...children) {
  return h("section", { class: "card" }, h("h3", {}, title), ...children);
}

/**
 * @param {any} card
 * @param {string} version
 * @param {string} markdown
 */
function about(card, version, markdown) {
  const { data, split } = card;
  const facts = [
    ["model", card.model], ["bundle", version], ["exported", card.created], ["table", `${data.name}${data.simulated ? " (simulated)" : ""}`],
    ["features", data.features], ["columns", data.categorical_columns === undefined ? null : `${data.categorical_columns} categories, ${data.numeric_columns} numbers`],
    ["label delay", split && `${split.label_delay_days} days`], ["fit", split?.says],
    ["split", split && Object.entries(split.settings).map(([name, value]) => `${name} ${value}`).join(", ")],
    ["tried", card.tried ?? "nothing is on record"],
  ].filter(([, value]) => value);
  const save = h("button", { type: "button", class: "quiet", onclick: () => {
    const link = h("a", { href: URL.createObjectURL(new Blob([markdown], { type: "text/markdown" })), download: "model_card.md" });
    link.click();
    URL.revokeObjectURL(link.href);
  } }, "Save as Markdown");
  return block("About", h("dl", { class: "definitions" }, facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    split && table("Rows", ["part", "rows", "frauds", "from", "to"], Object.entries(split.parts).map(([name, part]) =>
      [name, part.rows, part.frauds, part.from ?? "–", part.to ?? "–"].map((value) => (typeof value === "number" ? short(value) : value)))),
    h("p", { class: "buttons" }, save));
}

/** @param {any} card */
function measured({ metrics, intervals }) {
  const parts = Object.keys(metrics);
  const names = [...new Set(parts.flatMap((part) => Object.keys(metrics[part])))];
  const rows = names.map((name) => {
    const band = intervals?.metrics[name];
    return [TITLES[name] ?? name.replaceAll("_", " "), ...parts.map((part) => short(metrics[part][name])), band ? `${short(band[0])} to ${short(band[1])}` : ""];
  });
  return block("Metrics", table("of rows that it has not learnt from", ["metric", ...parts.map((part) => PARTS[/** @type {"val"} */ (part)]), "95 % interval"], rows),
    intervals && h("p", { class: "hint" }, `Intervals are of the ${PARTS[/** @type {"val"} */ (intervals.part)]}: its ${short(intervals.groups)} ${intervals.by}s drawn anew.`));
}

/** @param {any} card */
function points({ operating_points: all, thresholds, budget, money, rests_on: on }) {
  const known = all.filter((/** @type {any} */ point) => point.precision !== null && point.recall !== null);
  const place = (/** @type {any} */ point) => Math.log10(Math.max(point.alerts_per_1000, 0.01));
  const series = [["precision", "accent"], ["recall", "high"]].map(([name, tone]) => ({ name, tone: /** @type {"accent"} */ (tone), dots: true,
    points: known.map((/** @type {any} */ point) => ({ x: place(point), y: point[name] })) }));
  const names = ["alerts per 1,000", "score", "precision", "recall", "false alerts", ...(money ? [] : ["level"])]; // money has none by score
  const level = (/** @type {any} */ { threshold }) => (threshold === thresholds.high ? "high" : threshold === thresholds.medium ? "medium" : "");
  return block("Operating points",
    money ? h("p", {}, `Levels are by money: ${money}. Of these, the risk is high from a score of ${percent(thresholds.high)} on. Below is what alerting by the score alone would give.`)
      : h("p", {}, `Risk is high from ${percent(thresholds.high)} on, for ${short(budget.high)} alerts in 1,000 transactions, and medium from ${percent(thresholds.medium)} on, for ${short(budget.medium)} in all.`),
    known.length > 1 && line({ title: "By alerts per 1,000 transactions", series, x: (value) => short(Number((10 ** value).toPrecision(2))), y: percent, from: 0, to: 1 }),
    table("What alerting from a score on gives", names, all.map((/** @type {any} */ point) =>
      [short(point.alerts_per_1000), ...[point.threshold, point.precision, point.recall, point.fpr].map((share) => (share === null ? "–" : percent(share).replaceAll(" ", "\u00a0"))), ...(money ? [] : [level(point)])])),
    h("details", {}, h("summary", {}, "What these rest on"), h("ul", {}, Object.entries(on).map(([name, says]) => h("li", {}, `${name.replaceAll("_", " ")}: ${says}`)))));
}

/** @param {any} card */
function calibration({ calibration: { curve, points: seen, part } }) {
  const says = curve ? `Scores are calibrated (${mapped(curve)}).` : "Scores are the model's own.";
  if (!seen?.length) return block("Calibration", h("p", {}, says));
  const at = (/** @type {any} */ point, /** @type {string} */ name) => ({ x: onLogOdds(point.score), y: onLogOdds(point[name]) });
  const named = (/** @type {number} */ value) => percent(ofLogOdds(value));
  return block("Calibration", h("p", {}, says, " On the line, of transactions with a score of 5 % one in 20 is fraud."),
    line({ title: `Share of frauds by score, ${part}`, x: named, y: named, series: [
      { name: "seen", tone: "accent", dots: true, points: seen.map((/** @type {any} */ point) => at(point, "frauds")) },
      { name: "the line", tone: "muted", points: seen.map((/** @type {any} */ point) => at(point, "score")) }] }));
}

/** @param {any} curve */
function mapped({ map, slope, a, b, log_odds: knots }) {
  if (map === "isotonic") return `isotonic regression, ${knots.length} knots`;
  return map === "beta" ? `beta calibration, a ${short(a)}, b ${short(b)}` : `Platt scaling, slope ${short(slope)}`;
}

/** @param {any} card */
function importance({ importance: found }) {
  if (!found) return block("What scores rest on", h("p", { class: "hint" }, "This is not on record; export the run again."));
  return block("What scores rest on", bars({ title: "", bars: found.columns.slice(0, SHOWN).map((/** @type {any} */ { name, share }) => ({ label: name, value: share, text: percent(share) })) }),
    h("p", { class: "hint" }, `Mean share of each column over ${short(found.rows)} validation rows${found.columns.length > SHOWN ? `; the first ${SHOWN} of ${found.columns.length}` : ""}.`));
}

/** @param {any} card */
function limits({ limits: all }) {
  return block("Limits of use", h("ul", {}, all.map((/** @type {string} */ each) => h("li", {}, each))));
}
