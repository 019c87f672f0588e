/** The view Health: what this instance answers, how fast, and whether data, alerts and performance are as they should be. */

import { bars, line } from "./charts.js";
import { fill, h, svg, table } from "./dom.js";
import { percent, short } from "./numbers.js";
import { Poll } from "./poll.js";
import { ServerError } from "./server.js";

/** @typedef {import("./server.js").Server} Server */
/** @typedef {{at: number, said: any}} Seen an answer of /statistics, and when */

const FAST = 5; // seconds between two looks
const SLOW = 60;
const KEPT = 120; // looks that are kept, for lines
const STARTS = 20; // of instances whose looks are kept
const MINUTE = 60_000;
const COLUMNS = 12; // of drift that are shown first
const SHARES = { p50: 0.5, p95: 0.95, p99: 0.99 };
const STAGES = { total: "since the start, whole request", check: "JSON and contract", wait: "until a worker's answer", encode: "encode a batch", model: "score a batch" };
const METRICS = { average_precision: "Average precision", precision: "Precision of the alerts", recall: "Recall of the alerts", value_recall: "Share of the defrauded amount alerted" };

/**
 * @param {HTMLElement} root
 * @param {Server} server
 */
export async function mount(root, server) {
  const first = await server.ask("statistics");
  const health = new Health(root, server);
  health.add(first);
  return { show: () => health.poll.start(), hide: () => health.poll.stop() };
}

/** @param {string} title */
function card(title) {
  const body = h("div");
  return { body, section: h("section", { class: "card", "aria-label": title }, h("h3", {}, title), body) };
}

class Health {
  /**
   * @param {HTMLElement} root
   * @param {Server} server
   */
  constructor(root, server) {
    this.server = server;
    /** Looks at the instance that answered last. @type {Seen[]} */
    this.seen = [];
    /** Looks by start of an instance. @type {Map<string, Seen[]>} */
    this.starts = new Map();
    this.parts = {
      now: card("Now"), requests: card("Requests"), latency: card("Time of an answer"), alerts: card("Alerts per 1,000, last 24 hours"),
      drift: card("Drift by column, last 24 hours"), performance: card("Performance by week"),
    };
    const { now, requests, latency, alerts, drift, performance } = this.parts;
    root.append(h("h2", {}, "Health"), now.section,
      h("div", { class: "columns" }, h("div", {}, requests.section, alerts.section), latency.section), drift.section, performance.section);
    this.poll = new Poll([
      [FAST, () => this.#ask("now", "health/ready", (said) => this.#ready(said))],
      [FAST, () => this.#ask("requests", "statistics", (said) => this.add(said))],
      [SLOW, () => this.#ask("drift", "drift", (said) => this.#drift(said))],
      [SLOW, () => this.#ask("performance", "performance", (said) => this.#performance(said))],
    ]);
  }

  /**
   * @param {keyof Health["parts"]} part
   * @param {string} path
   * @param {(said: any) => void} show
   */
  async #ask(part, path, show) {
    try {
      show(await this.server.ask(path, { quiet: true }));
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (path === "health/ready" && error.status === 503) return this.#ready(null);
      const { body } = this.parts[part];
      if (error.status === 404) {
        if (part === "drift") fill(this.parts.alerts.body, h("p", { class: "hint" }, error.says));
        return fill(body, h("p", { class: "hint" }, error.says));
      }
      body.querySelector(":scope > .problem")?.remove();
      body.prepend(h("p", { class: "problem" }, error.says));
    }
  }

  /** @param {any} said null where it is not ready */
  #ready(said) {
    const { version } = this.server;
    const last = this.seen.at(-1)?.said;
    const fact = (/** @type {string} */ name, /** @type {any} */ value) => h("li", {}, h("span", { class: "note" }, name), " ", h("strong", {}, value));
    fill(this.parts.now.body, h("ul", { class: "facts" },
      h("li", {}, said?.ready ? h("span", { class: "level low" }, "ready") : h("span", { class: "level high" }, "not ready: a worker is missing, or the server ends")),
      said && fact("workers", `${said.workers.up} of ${said.workers.wanted}`), version && fact("bundle", version),
      last && fact("scored", short(last.scored)), last && fact("since", `${last.since.slice(0, 16).replace("T", " ")} UTC`), last && fact("instance", last.instance)),
    h("p", { class: "hint" }, `Updated every ${FAST} s, drift and performance every ${SLOW} s, while this view is open. All of it is of this instance alone.`));
  }

  /** @param {any} said by /statistics */
  add(said) {
    const start = `${said.instance} ${said.since}`; // of an instance: behind one address several may answer in turn
    this.seen = this.starts.get(start) ?? [];
    this.starts.set(start, this.seen);
    if (this.starts.size > STARTS) this.starts.delete([...this.starts.keys()][0]);
    this.seen.push({ at: performance.now(), said });
    if (this.seen.length > KEPT) this.seen.shift();
    this.#requests(said);
    this.#latency(said);
  }

  /** @param {any} said */
  #requests(said) {
    const rates = pairs(this.seen).map(([one, other]) => ({ x: other.at / 1000, y: (answers(other.said) - answers(one.said)) / ((other.at - one.at) / 1000) }));
    const rows = Object.entries(said.requests).filter(([path]) => !path.startsWith("/page/") && path !== "/");
    const counted = rows.flatMap(([path, by]) => Object.entries(/** @type {Record<string, number>} */ (by)).map(([status, count]) => [path, status, count]));
    fill(this.parts.requests.body,
      rates.length > 1 ? line({ title: "Scored requests a second", series: [{ name: "requests/s", points: rates }], x: ago(rates), y: (value) => short(value), from: 0, height: 150 })
        : h("p", { class: "hint" }, "The rate appears after a few updates."),
      Object.keys(said.refusals).length ? bars({ title: "Refused, by reason", bars: Object.entries(said.refusals).map(([label, value]) => ({ label, value: Number(value), tone: "medium" })) })
        : h("p", { class: "hint" }, "Nothing was refused."),
      h("details", {}, h("summary", {}, "Answers by address and status"), table("Since the start", ["address", "status", "answers"], counted)));
  }

  /** @param {any} said */
  #latency(said) {
    const times = (/** @type {number | null | undefined} */ value) => (value === null || value === undefined ? "–" : milliseconds(value));
    const last = this.seen[this.seen.length - 1];
    const start = this.seen.find((each) => each.at >= last.at - MINUTE) ?? last;
    const recent = percentiles(start.said.latency, last.said.latency);
    const points = pairs(this.seen).map(([one, other]) => ({ x: other.at / 1000, y: percentiles(one.said.latency, other.said.latency).p95 }));
    const rows = Object.entries(STAGES).map(([stage, says]) => [says, ...Object.keys(SHARES).map((share) => times(said.seconds[stage]?.[share]))]);
    fill(this.parts.latency.body,
      points.some(({ y }) => y !== null) && line({ title: "95 of 100 answers took at most (p95)", series: [{ name: "p95", points }], x: ago(points), y: milliseconds, from: 0, height: 150 }),
      table("p50, p95, p99: 50, 95 and 99 of 100 answers took at most this long", ["", "p50", "p95", "p99"],
        [["last minute, whole request", times(recent.p50), times(recent.p95), times(recent.p99)], ...rows]));
  }

  /** @param {any} said by /drift */
  #drift(said) {
    if (!said.rows) {
      fill(this.parts.alerts.body, h("p", { class: "hint" }, "Nothing was scored in the last 24 hours."));
      return fill(this.parts.drift.body, h("p", { class: "hint" }, "Nothing was scored in the last 24 hours."));
    }
    const judged = said.effective_rows >= said.fewest_rows;
    fill(this.parts.alerts.body, said.alerts_per_1000 === null ? h("p", { class: "hint" }, `Not judged: ${said.alerts_not_judged}.`)
      : Object.entries(said.alerts_per_1000).map(([level, it]) => band(level, it, judged)));
    const columns = Object.entries(said.columns);
    const beyond = columns.filter(([, it]) => it.alarm).length;
    const says = judged ? `${short(beyond)} of ${short(columns.length)} columns are beyond their limit${said.scores.alarm ? ", and so are the scores" : ""}.`
      : `Not judged yet: ${short(said.rows)} rows, and fewer than ${short(said.fewest_rows)} vary too much by chance.`;
    const first = columns.slice(0, COLUMNS);
    const full = 1.05 * Math.max(...first.map(([, it]) => Math.max(it.psi, it.limit)), 1e-12);
    const chart = bars({ title: "", head: ["column", "population stability index (PSI)"], full, bars: first.map(([label, it]) => ({
      label, value: it.psi, limit: it.limit, text: `${it.psi.toFixed(3)}, limit ${it.limit.toFixed(3)}`, note: noted(it), tone: it.alarm ? "high" : "accent" })) });
    const scale = h("p", { class: "hint" }, `Bars show the PSI from 0 to ${full.toFixed(3)}, where 0 is no change. The line in each bar is the column's limit for this number of rows.`);
    const open = this.parts.drift.body.querySelector("details")?.open ?? false;
    fill(this.parts.drift.body, h("p", { class: beyond && judged ? "problem" : "" }, says), first.length > 0 && [scale, chart],
      columns.length > COLUMNS && h("details", { open }, h("summary", {}, `The other ${short(columns.length - COLUMNS)} columns`), table("Drift", ["column", "PSI", "limit", "missing now"],
        columns.slice(COLUMNS).map(([name, it]) => [h("bdi", {}, name), it.psi.toFixed(3), it.limit.toFixed(3), percent(it.missing.now)]))));
  }

  /** @param {any} report by /performance */
  #performance(report) {
    const main = largest(report.weeks);
    const charts = Object.entries(METRICS).flatMap(([name, title]) => {
      const series = (/** @type {"realised" | "estimated"} */ kind) => main.flatMap((week) => {
        const it = week[kind]?.[name];
        return it && it.value !== null ? [{ x: Date.parse(week.week), y: it.value, low: it.low ?? null, high: it.high ?? null }] : [];
      });
      const [realised, estimated] = [series("realised"), series("estimated")];
      if (!realised.length && !estimated.length) return [];
      return [line({ title, x: day, y: percent, from: 0, height: 170, series: [
        { name: "realised", points: realised, dots: true }, { name: "estimated, with a 90 % interval", points: estimated, tone: /** @type {const} */ ("medium"), dots: true }].filter(({ points }) => points.length) })];
    });
    const rows = report.weeks.map((/** @type {any} */ week) => {
      const found = week.realised ?? week.estimated ?? {};
      return [week.week, h("code", {}, week.bundle_version), short(week.rows), short(week.alerts), short(week.frauds_told), week.told_share ? percent(week.told_share.value) : "–",
        week.mature ? "final" : "estimated", ...["average_precision", "precision", "recall"].map((name) => interval(found[name]))];
    }).reverse();
    const past = Object.entries(report.past_estimates).map(([name, it]) => ({
      label: /** @type {any} */ (METRICS)[name] ?? name, value: it.held, text: `${percent(it.held)} of ${short(it.estimates)} held the final value`, limit: 0.9 }));
    const why = report.weeks.findLast((/** @type {any} */ week) => week.why_not)?.why_not;
    fill(this.parts.performance.body,
      h("p", { class: "hint" }, `As known at ${report.as_of.slice(0, 16).replace("T", " ")} UTC. A label is final ${report.mature_days} days after its transaction. Younger weeks are estimated.`),
      why && h("p", { class: "hint" }, `No estimates: ${why}.`),
      h("div", { class: "columns" }, charts),
      past.length > 0 && bars({ title: "Past estimates: how many of the 90 % intervals held the final value", bars: past, full: 1 }),
      h("div", { class: "rows" }, table("By week and bundle, the newest first; reported: the share of the frauds whose labels have come", ["week", "bundle", "transactions", "alerts", "frauds reported", "reported", "labels", "average precision", "precision", "recall"], rows)));
  }
}

/** @param {any} it */
function noted(it) {
  const { before, now } = it.missing;
  const unseen = it.unseen && it.unseen.now > it.unseen.before ? ` · ${percent(it.unseen.now)} unseen` : "";
  return `${Math.abs(now - before) >= 0.01 ? `missing ${percent(before)} → ${percent(now)}` : ""}${unseen}`.replace(/^ · /, "");
}

/**
 * Alerts of a level with their interval, beside the budget.
 * @param {string} level
 * @param {any} it
 * @param {boolean} judged
 */
function band(level, it, judged) {
  const most = 1.15 * Math.max(it.high, it.budget);
  const at = (/** @type {number} */ value) => (300 * value) / most;
  const inside = it.low <= it.budget && it.budget <= it.high;
  const says = !judged ? "too few rows to tell" : inside ? "as budgeted" : it.low > it.budget ? "more than budgeted" : "fewer than budgeted";
  return h("div", { class: "band-row" },
    h("p", {}, h("span", { class: `level ${level}` }, level === "medium" ? "medium or high" : level), " ", h("strong", {}, short(Math.round(10 * it.estimate) / 10)),
      ` (${short(Math.round(10 * it.low) / 10)} to ${short(Math.round(10 * it.high) / 10)}); budget ${short(it.budget)}: `,
      h("span", { class: judged && !inside ? "problem" : "low" }, says)),
    svg("svg", { viewBox: "0 0 300 22", preserveAspectRatio: "none", class: "band-chart", "aria-hidden": "true" },
      svg("rect", { x: 0, y: 8, width: 300, height: 6, rx: 3, class: "fill-line" }),
      svg("rect", { x: at(it.low), y: 5, width: Math.max(at(it.high) - at(it.low), 1), height: 12, class: `fill-${level} soft` }),
      svg("rect", { x: at(it.estimate) - 1, y: 3, width: 2, height: 16, class: `fill-${level}` }),
      svg("rect", { x: at(it.budget) - 1, y: 0, width: 2, height: 22, class: "fill-ink" })),
    h("p", { class: "hint ends", "aria-hidden": "true" }, h("span", {}, "0"), h("span", {}, "bar: 95 % interval · tall line: budget"), h("span", {}, `${short(Math.round(10 * most) / 10)} per 1,000`)),
    judged && !inside && it.threshold !== null && h("p", { class: "hint" }, `The threshold is ${percent(it.threshold)}; ${percent(it.threshold_for_budget)} would have kept to the budget.`));
}

/**
 * Of each week the bundle that scored most.
 * @param {any[]} weeks
 */
function largest(weeks) {
  const found = new Map();
  for (const week of weeks) if (!(found.get(week.week)?.rows >= week.rows)) found.set(week.week, week);
  return [...found.values()];
}

/** @param {any} it */
function interval(it) {
  if (!it || it.value === null) return "–";
  return it.low === null || it.low === undefined ? percent(it.value) : `${percent(it.value)} (${percent(it.low)} to ${percent(it.high)})`;
}

/** @param {number} time */
function day(time) {
  return new Date(time).toISOString().slice(0, 10);
}

/** @param {number} seconds */
function milliseconds(seconds) {
  return `${short(Math.round(10000 * seconds) / 10)} ms`;
}

/** @param {{x: number}[]} points in seconds */
function ago(points) {
  const last = points.at(-1)?.x ?? 0;
  return (/** @type {number} */ value) => (value >= last - 0.5 ? "now" : `${Math.round(last - value)} s ago`);
}

/**
 * @template T
 * @param {T[]} items
 * @returns {[T, T][]} each with the one after it
 */
function pairs(items) {
  return items.slice(1).map((item, n) => [items[n], item]);
}

/** @param {any} said */
function answers(said) {
  return Object.values(said.requests["/predict"] ?? {}).reduce((/** @type {number} */ sum, count) => sum + Number(count), 0);
}

/**
 * Of the requests between two answers; linear within a bin, beyond the last bound that bound.
 * @param {{bounds: number[], counts: number[]}} before
 * @param {{bounds: number[], counts: number[]}} now
 * @returns {Record<keyof typeof SHARES, number | null>}
 */
function percentiles(before, now) {
  const counts = now.counts.map((count, n) => count - before.counts[n]);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const of = (/** @type {number} */ share) => {
    let sum = 0;
    for (const [n, count] of counts.entries()) {
      if (count > 0 && sum + count >= share * total) {
        const low = n ? now.bounds[n - 1] : 0;
        return n < now.bounds.length ? low + ((now.bounds[n] - low) * (share * total - sum)) / count : low;
      }
      sum += count;
    }
    return null;
  };
  return { p50: of(SHARES.p50), p95: of(SHARES.p95), p99: of(SHARES.p99) };
}
