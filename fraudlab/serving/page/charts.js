/** Small charts as SVG. Each is a figure with a title, a sentence for those who do not see it, and its numbers as a table. */

import { fill, h, svg, table, unique } from "./dom.js";
import { percent, short } from "./numbers.js";

/**
 * @typedef {"low" | "medium" | "high" | "accent" | "muted"} Tone a colour of the page
 * @typedef {{at: number, label: string, tone?: Tone}} Mark a value of an axis that is marked
 * @typedef {{from: number, to: number, share: number, reference?: number}} Bin shares of rows in [from, to)
 * @typedef {{x: number, y: number | null, low?: number | null, high?: number | null}} Point
 * @typedef {{name: string, points: Point[], tone?: Tone, dots?: boolean}} Series
 * @typedef {{label: string, value: number, text?: string, note?: string, tone?: Tone, limit?: number}} Bar `limit`: a value that is marked in the bar
 */

const LEAST = 1e-4; // probabilities below and above its complement stand at the ends of a scale

/**
 * Where a probability stands on a scale of log-odds, in [0, 1]: steps from 0.1 % to 1 % and from 10 % to 50 % are alike.
 * @param {number} share
 */
export function onLogOdds(share) {
  const odds = (/** @type {number} */ p) => Math.log(p / (1 - p));
  const clipped = Math.min(Math.max(share, LEAST), 1 - LEAST);
  return (odds(clipped) - odds(LEAST)) / (odds(1 - LEAST) - odds(LEAST));
}

/**
 * The probability at a place that {@link onLogOdds} gave.
 * @param {number} place in [0, 1]
 */
export function ofLogOdds(place) {
  const most = Math.log((1 - LEAST) / LEAST);
  return 1 / (1 + Math.exp(-(2 * place - 1) * most));
}

/** Probabilities that a scale of log-odds names, the most important ones first. */
const NAMED = [0.5, 0.01, 0.99, 0.1, 0.9, 0.001, 0.999];

/**
 * A figure whose chart is drawn anew when its width changes.
 * @param {string} title
 * @param {string} says what the chart shows, in a sentence
 * @param {(width: number) => SVGElement[]} draw in units of pixels
 * @param {number} height
 * @param {Element | null} numbers the same as a table
 */
function figure(title, says, draw, height, numbers) {
  const id = unique("chart");
  const chart = svg("svg", { class: "chart", role: "img", "aria-labelledby": id, height });
  const name = svg("title", { id }, `${title}: ${says}`);
  let drawn = 0;
  const redraw = (/** @type {number} */ width) => {
    if (width === drawn || width <= 0) return;
    drawn = width;
    chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
    fill(chart, name, draw(width));
  };
  new ResizeObserver(([entry]) => redraw(Math.round(entry.contentRect.width))).observe(chart);
  redraw(640);
  return h("figure", { class: "figure" }, title && h("figcaption", {}, title), chart,
    numbers && h("details", { class: "numbers" }, h("summary", {}, "Numbers"), numbers));
}

/**
 * Texts beside each other that would cover each other stand in further rows.
 * @param {{x: number, text: string, anchor?: string}[]} wanted by rising x; `anchor` where there is room for it
 * @param {number} width
 * @returns {{x: number, row: number, anchor: string}[]}
 */
function placed(wanted, width) {
  /** @type {number[]} */
  const starts = []; // from right to left, so that no text covers the line of the next one
  return wanted.map(({ x, text, anchor: asked = "middle" }) => {
    const size = 7 * text.length;
    const [before, after] = { start: [0, size], end: [size, 0] }[asked] ?? [size / 2, size / 2];
    const anchor = x < before ? "start" : x > width - after ? "end" : asked;
    return { x, size, anchor, left: anchor === "start" ? x : anchor === "end" ? x - size : x - size / 2 };
  }).reverse().map(({ x, size, anchor, left }) => {
    let row = starts.findIndex((start) => left + size + 8 < start);
    if (row < 0) row = starts.length;
    starts[row] = left;
    return { x, row, anchor };
  }).reverse();
}

/**
 * A probability on a scale of log-odds with marks, such as the thresholds of the levels.
 * @param {{title: string, value: number, marks: Mark[], bands?: {from: number, to: number, tone: Tone}[], spread?: {low: number, high: number}}} it
 *   `spread`: where it may lie as well
 */
export function scale({ title, value, marks, bands = [], spread }) {
  const says = `${percent(value)}${spread ? `; from ${percent(spread.low)} to ${percent(spread.high)}` : ""}${marks.map(({ at, label }) => `; ${label} at ${percent(at)}`).join("")}`;
  const draw = (/** @type {number} */ width) => {
    const x = (/** @type {number} */ share) => 6 + onLogOdds(share) * (width - 12);
    const sorted = [...marks].sort((one, other) => one.at - other.at);
    const above = placed(sorted.map(({ at, label }, i) => ({ x: x(at), text: label, anchor: i ? "start" : "end" })), width);
    const tops = above.map(({ row }) => 30 - 15 * row);
    return [
      svg("rect", { x: 6, y: 40, width: width - 12, height: 14, rx: 7, class: "fill-line" }),
      ...bands.map(({ from, to, tone }) =>
        svg("rect", { x: x(from), y: 40, width: Math.max(x(to) - x(from), 0), height: 14, class: `fill-${tone} soft` })),
      ...sorted.flatMap(({ at, label, tone }, i) => [
        svg("line", { x1: x(at), x2: x(at), y1: tops[i] + 3, y2: 56, class: `stroke-${tone ?? "muted"}` }),
        svg("text", { x: above[i].x, y: tops[i], "text-anchor": above[i].anchor, class: "mark" }, label),
      ]),
      ...(spread ? [svg("rect", { x: x(spread.low), y: 58, width: Math.max(x(spread.high) - x(spread.low), 2), height: 5, rx: 2, class: "fill-ink spread" })] : []),
      svg("path", { d: `M${x(value)} 44 l-8 16 h16 z`, class: "pointer" }),
      ...ticks(width).map(({ at, anchor }) =>
        svg("text", { x: x(at), y: 76, "text-anchor": anchor, class: "tick" }, percent(at))),
    ];
  };
  return figure(title, says, draw, 82, null);
}

/**
 * Probabilities to be named below a scale, those that have room.
 * @param {number} width
 */
function ticks(width) {
  /** @type {{at: number, anchor: string, x: number}[]} */
  const found = [];
  for (const at of NAMED) {
    const x = 6 + onLogOdds(at) * (width - 12);
    if (found.every((other) => Math.abs(other.x - x) > 52)) found.push({ at, anchor: "middle", x });
  }
  return found;
}

/**
 * Bars from left to right, or to both sides of zero, each with its name and a text; no axis.
 * @param {{title: string, bars: Bar[], signed?: boolean, head?: [string, string], full?: number}} it `full`: the value of a bar of full
 *   length; without it the largest one
 */
export function bars({ title, bars: rows, signed = false, head = ["", ""], full }) {
  const most = full ?? Math.max(...rows.map(({ value }) => Math.abs(value)), 1e-12);
  return h("figure", { class: "figure" }, title && h("figcaption", {}, title),
    h("table", { class: "bars" }, h("caption", { class: "hidden" }, title),
      h("thead", { class: head[0] ? "" : "hidden" }, h("tr", {}, h("th", { scope: "col" }, head[0] || "what"), h("th", { scope: "col" }, head[1] || "how much"))),
      h("tbody", {}, rows.map(({ label, value, text, note, tone, limit }) => {
        const length = (Math.abs(value) / most) * (signed ? 50 : 100);
        const start = signed ? (value < 0 ? 50 - length : 50) : 0;
        return h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, label)),
          h("td", {}, h("span", { class: "bar-text" }, text ?? short(value)),
            svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
              signed && svg("line", { x1: 50, x2: 50, y1: 0, y2: 10, class: "stroke-muted thin" }),
              svg("rect", { x: start, y: 1, width: Math.max(length, 0.5), height: 8, class: `fill-${tone ?? "accent"}` }),
              limit !== undefined && svg("line", { x1: (100 * limit) / most, x2: (100 * limit) / most, y1: 0, y2: 10, class: "limit" })),
            note !== undefined && h("span", { class: "note" }, note)));
      }))));
}

/**
 * Shares of rows by bins as bars, those of a reference as a line above them.
 * @param {{title: string, bins: Bin[], marks?: Mark[], probability?: boolean, names?: [string, string]}} it `probability`:
 *   the axis is of log-odds; else linear
 */
export function histogram({ title, bins, marks = [], probability = false, names = ["now", "reference"] }) {
  const named = probability ? percent : short;
  const [first, last] = [bins[0]?.from ?? 0, bins.at(-1)?.to ?? 1];
  const most = Math.max(...bins.map(({ share, reference }) => Math.max(share, reference ?? 0)), 1e-12);
  const compared = bins.some(({ reference }) => reference !== undefined);
  const largest = bins.reduce((best, bin) => (bin.share > best.share ? bin : best), bins[0] ?? { from: 0, to: 0, share: 0 });
  const says = `${bins.length} bins; most in ${named(largest.from)} to ${named(largest.to)}, ${percent(largest.share)}`;
  const height = 190;
  const draw = (/** @type {number} */ width) => {
    const at = (/** @type {number} */ value) =>
      (probability ? onLogOdds(value) : (value - first) / (last - first || 1)) * (width - 8) + 4;
    const y = (/** @type {number} */ share) => 156 - (share / most) * 118;
    const path = bins.map(({ from, to, reference }) => `L${at(from)} ${y(reference ?? 0)} L${at(to)} ${y(reference ?? 0)}`).join(" ");
    const sorted = [...marks].sort((one, other) => one.at - other.at);
    const above = placed(sorted.map((mark) => ({ x: at(mark.at), text: mark.label })), width);
    const named_at = probability ? ticks(width).map((tick) => tick.at) : [first, (first + last) / 2, last];
    return [
      ...bins.map(({ from, to, share }) =>
        svg("rect", { x: at(from) + 0.5, y: y(share), width: Math.max(at(to) - at(from) - 1, 0.5), height: 156 - y(share), class: "fill-accent" })),
      ...(compared ? [svg("path", { d: `M${at(first)} 156 ${path} L${at(last)} 156`, class: "stroke-ink outline" })] : []),
      svg("line", { x1: 0, x2: width, y1: 156, y2: 156, class: "stroke-muted" }),
      ...sorted.flatMap((mark, i) => [
        svg("line", { x1: at(mark.at), x2: at(mark.at), y1: 29 - 14 * above[i].row, y2: 156, class: `stroke-${mark.tone ?? "muted"} dashed` }),
        svg("text", { x: above[i].x, y: 26 - 14 * above[i].row, "text-anchor": above[i].anchor, class: "mark" }, mark.label),
      ]),
      ...named_at.map((value, i) =>
        svg("text", { x: at(value), y: 174, class: "tick", "text-anchor": probability ? "middle" : ["start", "middle", "end"][i] }, named(value))),
    ];
  };
  const rows = bins.map(({ from, to, share, reference }) => [`${named(from)} to ${named(to)}`, percent(share), ...(compared ? [percent(reference ?? 0)] : [])]);
  const made = figure(title, says, draw, height, table(title, ["from, to", names[0], ...(compared ? [names[1]] : [])], rows));
  if (compared) made.append(legend([{ name: names[0], tone: "accent" }, { name: names[1] }]));
  return made;
}

/** @param {{name: string, tone?: Tone}[]} items */
function legend(items) {
  return h("p", { class: "legend", "aria-hidden": "true" }, items.map(({ name, tone }) =>
    h("span", {}, svg("svg", { viewBox: "0 0 12 12", width: 12, height: 12 },
      tone ? svg("rect", { width: 12, height: 12, rx: 2, class: `fill-${tone}` }) : svg("path", { d: "M0 6 H12", class: "stroke-ink outline" })),
    " ", name)));
}

/**
 * Lines over numbers, each with a band where its points say `low` and `high`. A point without `y` parts its line.
 * @param {{title: string, series: Series[], marks?: Mark[], cursor?: number | null, x?: (value: number) => string,
 *   y?: (value: number) => string, from?: number, to?: number, height?: number}} it `marks` are values of y; `cursor` is one of x; `x` and `y` name
 *   values; `from` and `to` are the least and the most that the y axis spans
 */
export function line({ title, series, marks = [], cursor = null, x: xText = short, y: yText = short, from, to, height = 200 }) {
  const points = series.flatMap((each) => each.points);
  const xs = points.map((point) => point.x);
  const ys = [...points.flatMap(({ y, low, high }) => [y, low, high]), ...marks.map(({ at }) => at), from, to].filter(
    (value) => typeof value === "number" && Number.isFinite(value));
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  let [bottom, top] = [Math.min(.../** @type {number[]} */ (ys)), Math.max(.../** @type {number[]} */ (ys))];
  if (!ys.length) [bottom, top] = [0, 1];
  if (bottom === top) [bottom, top] = [bottom - Math.abs(bottom) * 0.1, top + (Math.abs(top) * 0.1 || 1)];
  const latest = (/** @type {Series} */ each) => each.points.findLast((point) => point.y !== null);
  const says = series.map((each) => {
    const last = latest(each);
    return last && last.y !== null ? `${each.name} ends at ${yText(last.y)}` : `${each.name} has no values`;
  }).join("; ");
  const draw = (/** @type {number} */ width) => {
    const gutter = 10 + 7 * Math.max(yText(bottom).length, yText(top).length);
    const floor = height - 24;
    const at = (/** @type {number} */ value) => gutter + ((value - left) / (right - left || 1)) * (width - gutter - 8);
    const y = (/** @type {number} */ value) => floor - ((value - bottom) / (top - bottom)) * (floor - 12);
    const middle = (bottom + top) / 2;
    return [
      ...[bottom, middle, top].flatMap((value) => [
        svg("line", { x1: gutter, x2: width, y1: y(value), y2: y(value), class: "grid" }),
        svg("text", { x: gutter - 6, y: y(value) + 4, "text-anchor": "end", class: "tick" }, yText(value)),
      ]),
      ...marks.map((mark) => svg("line", { x1: gutter, x2: width, y1: y(mark.at), y2: y(mark.at), class: `stroke-${mark.tone ?? "muted"} dashed` })),
      ...(cursor === null ? [] : [svg("line", { x1: at(cursor), x2: at(cursor), y1: 8, y2: floor, class: "stroke-ink dashed" })]),
      ...series.flatMap((each) => drawn(each, at, y)),
      ...marks.map((mark) => svg("text", { x: width - 2, y: y(mark.at) - 4, "text-anchor": "end", class: "mark" }, mark.label)), // last, over the lines
      ...(points.length ? [left, right] : []).map((value, i) =>
        svg("text", { x: at(value), y: height - 6, "text-anchor": i ? "end" : "start", class: "tick" }, xText(value))),
    ];
  };
  const rows = series.flatMap((each) => each.points.map(({ x, y, low, high }) =>
    [each.name, xText(x), y === null ? "–" : yText(y), typeof low === "number" && typeof high === "number" ? `${yText(low)} to ${yText(high)}` : ""]));
  const made = figure(title, says, draw, height, table(title, ["line", "at", "value", "interval"], rows));
  if (series.length > 1) made.append(legend(series.map(({ name, tone }) => ({ name, tone: tone ?? "accent" }))));
  return made;
}

/**
 * @param {Series} series
 * @param {(value: number) => number} at
 * @param {(value: number) => number} y
 */
function drawn({ points, tone = "accent", dots = points.length < 2 }, at, y) {
  /** @type {Point[][]} */
  const parts = [[]];
  for (const point of points) {
    if (point.y === null) parts.push([]);
    else parts[parts.length - 1].push(point);
  }
  return parts.filter((part) => part.length).flatMap((part) => {
    const banded = part.filter(({ low, high }) => typeof low === "number" && typeof high === "number");
    const upper = banded.map(({ x, high }) => `${at(x)} ${y(Number(high))}`);
    const lower = banded.map(({ x, low }) => `${at(x)} ${y(Number(low))}`).reverse();
    return [
      ...(banded.length > 1 ? [svg("path", { d: `M${[...upper, ...lower].join(" L")} z`, class: `fill-${tone} band` })] : []),
      ...(banded.length === 1 ? [svg("line", { x1: at(banded[0].x), x2: at(banded[0].x), y1: y(Number(banded[0].low)), y2: y(Number(banded[0].high)), class: `stroke-${tone}` })] : []),
      svg("path", { d: `M${part.map((point) => `${at(point.x)} ${y(Number(point.y))}`).join(" L")}`, class: `stroke-${tone} outline` }),
      ...(dots || part.length === 1 ? part.map((point) => svg("circle", { cx: at(point.x), cy: y(Number(point.y)), r: 3, class: `fill-${tone}` })) : []),
    ];
  });
}
