// What is known of the rows of a file: a few numbers a row in memory, reasons aside in blobs, which a browser may keep
// on its disk. It touches no document.

import { read, short, write } from "./numbers.js";

/**
 * @typedef {import("./records.js").Piece} Piece
 * @typedef {import("./sender.js").Scored} Scored
 */

/**
 * What decides by money which transactions get an alert, in words.
 * @param {{amount: string, admin_cost: number, recovery_share: number}} money of the bundle's decision
 */
export function ruleOf({ amount, admin_cost: cost, recovery_share: share }) {
  return `alerts where score × ${amount}${share === 1 ? "" : ` × ${short(share)}`} is above ${short(cost)}, the cost of an alert`;
}

/** Risk levels by their number; 0 where a row is not scored. */
export const LEVELS = ["", "low", "medium", "high"];

const FIRST_REFUSED = 20; // rows that are told at once; the others come from their blobs
const PARSED = 8; // blobs whose content is kept: rows of few requests lie among each other

const EDGES = Array.from({ length: 241 }, (_, n) => 1 / (1 + Math.exp(12 - n / 10))); // of a bundle that has none

/**
 * An array of twice the length with the same content, once it is full.
 * @template {Float64Array | Uint8Array | Uint32Array} A
 * @param {A} array
 * @param {number} wanted places
 * @returns {A}
 */
function grown(array, wanted) {
  if (wanted <= array.length) return array;
  const larger = new /** @type {any} */ (array.constructor)(Math.max(wanted, 2 * array.length));
  larger.set(array);
  return larger;
}

export class Scores {
  rows = 0;
  scored = 0;
  score = new Float64Array(1024);
  level = new Uint8Array(1024);
  /** Where a row's reasons and bundle are, or why it is refused: the answer, from 1, and the place in it. */
  answer = new Uint32Array(1024);
  place = new Uint32Array(1024);
  answers = /** @type {{version: string, told: Blob | null}[]} */ ([]);
  refused = 0;
  /** Of those that are refused, the first of the file. */
  firstRefused = /** @type {{row: number, line: number, problem: string}[]} */ ([]);
  pieces = { first: new Float64Array(64), start: new Float64Array(64), end: new Float64Array(64), line: new Float64Array(64), count: 0 };
  byLevel = [0, 0, 0, 0];
  /** What the answers tell that were asked for last, by number. */
  parsed = /** @type {Map<number, any[]>} */ (new Map());

  /**
   * @param {number[]} thresholds whose alerts are counted
   * @param {number[]} [edges] of bins of scores, rising
   */
  constructor(thresholds, edges = EDGES) {
    this.edges = edges;
    this.bins = new Array(edges.length + 1).fill(0);
    this.thresholds = thresholds;
    this.alerts = thresholds.map(() => 0);
  }

  /** @param {Piece} piece in the order of the file */
  read(piece) {
    const { pieces } = this;
    for (const name of /** @type {const} */ (["first", "start", "end", "line"])) {
      pieces[name] = grown(pieces[name], pieces.count + 1);
      pieces[name][pieces.count] = piece[name];
    }
    pieces.count++;
    this.rows = piece.first + piece.count;
    this.score = grown(this.score, this.rows);
    this.level = grown(this.level, this.rows);
    this.answer = grown(this.answer, this.rows);
    this.place = grown(this.place, this.rows);
  }

  /**
   * @param {{row: number}[]} records
   * @param {Scored[]} scores
   * @param {string} version of the bundle
   */
  add(records, scores, version) {
    const reasons = scores.some((each) => each.reasons) ? new Blob([write(scores.map((each) => each.reasons ?? null))]) : null;
    this.answers.push({ version, told: reasons });
    records.forEach(({ row }, n) => {
      const { score, risk_level } = scores[n];
      const level = LEVELS.indexOf(risk_level);
      this.score[row] = score;
      this.level[row] = level;
      this.answer[row] = this.answers.length;
      this.place[row] = n;
      this.byLevel[level]++;
      this.bins[above(this.edges, score)]++;
      this.thresholds.forEach((threshold, k) => {
        if (score >= threshold) this.alerts[k]++;
      });
    });
    this.scored += records.length;
  }

  /** @param {{row: number, line: number, problem: string}[]} rows */
  refuse(rows) {
    this.answers.push({ version: "", told: new Blob([JSON.stringify(rows.map(({ problem }) => problem))]) });
    rows.forEach(({ row }, n) => {
      this.answer[row] = this.answers.length;
      this.place[row] = n;
    });
    this.refused += rows.length;
    this.firstRefused = [...this.firstRefused, ...rows].sort((one, other) => one.row - other.row).slice(0, FIRST_REFUSED);
  }

  /**
   * The rows of the highest scores, in order; of equal ones the earlier first. Few of millions are found without sorting all.
   * @param {number} count
   * @param {number} [level] only rows of this one
   */
  best(count, level = 0) {
    const { score } = this;
    const order = (/** @type {number} */ one, /** @type {number} */ other) => score[other] - score[one] || one - other;
    /** @type {number[]} */
    let found = [];
    let least = -Infinity; // `count` rows before this one score as high
    for (let row = 0; row < this.rows; row++) {
      if ((level ? this.level[row] !== level : !this.level[row]) || score[row] <= least) continue;
      found.push(row);
      if (found.length < 2 * count + 1000) continue;
      found = found.sort(order).slice(0, count);
      least = score[found[count - 1]];
    }
    return found.sort(order).slice(0, count);
  }

  /**
   * What is told of a row: its reasons, or in words why it is refused; null where neither is.
   * @param {number} row
   * @returns {Promise<any>}
   */
  async told(row) {
    const number = this.answer[row];
    const blob = this.answers[number - 1]?.told;
    if (!blob) return null;
    let parsed = this.parsed.get(number);
    if (!parsed) {
      parsed = /** @type {any[]} */ (read(await blob.text()));
      this.parsed.set(number, parsed);
      if (this.parsed.size > PARSED) this.parsed.delete([...this.parsed.keys()][0]);
    }
    return parsed[this.place[row]] ?? null;
  }

  /** @param {number} row */
  version(row) {
    return this.answers[this.answer[row] - 1]?.version ?? "";
  }

  /**
   * The part of the file that holds a row.
   * @param {number} row
   */
  part(row) {
    const { first, start, end, line } = this.pieces;
    const n = above(first.subarray(0, this.pieces.count), row) - 1;
    return { number: first[n], start: start[n], end: end[n], line: line[n] };
  }
}

/**
 * How many of rising `edges` are at most `value`.
 * @param {ArrayLike<number>} edges
 * @param {number} value
 */
export function above(edges, value) {
  let [low, high] = [0, edges.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (edges[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Reasons as a cell of text.
 * @param {{field: string, value: unknown, share: number, unseen?: boolean}[] | null} reasons
 * @param {(value: unknown) => string} named
 */
export function reasonsText(reasons, named = (value) => String(value ?? "")) {
  return (reasons ?? []).map(({ field, value, share, unseen }) => `${field}=${named(value)}${unseen ? " unseen" : ""} (${Math.round(100 * share)}%)`).join("; ");
}
