// What is known of the rows of a file: a few numbers a row in memory, reasons aside in blobs, which a browser may keep
// on its disk. It touches no document.

import { read, write } from "./numbers.js";

/**
 * @typedef {import("./records.js").Piece} Piece
 * @typedef {import("./sender.js").Scored} Scored
 */

/** Risk levels by their number; 0 where a row is not scored. */
export const LEVELS = ["", "low", "medium", "high"];

const EDGES = Array.from({ length: 241 }, (_, n) => 1 / (1 + Math.exp(12 - n / 10))); // of a bundle that has none

/**
 * An array of twice the length with the same content, once it is full.
 * @template {Float64Array | Uint8Array | Uint16Array | Uint32Array} A
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
  /** Where a row's reasons and bundle are: the answer, from 1, and the place in it. */
  answer = new Uint32Array(1024);
  place = new Uint16Array(1024);
  answers = /** @type {{version: string, reasons: Blob | null}[]} */ ([]);
  /** Problems by row. */
  refused = /** @type {Map<number, {line: number, problem: string}>} */ (new Map());
  pieces = { first: new Float64Array(64), start: new Float64Array(64), end: new Float64Array(64), line: new Float64Array(64), count: 0 };
  byLevel = [0, 0, 0, 0];
  /** The answer whose reasons were asked for last. */
  parsed = { number: 0, reasons: /** @type {any[]} */ ([]) };

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
    this.answers.push({ version, reasons });
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

  /** @param {{row: number, line: number, problem: string}} one */
  refuse({ row, line, problem }) {
    this.refused.set(row, { line, problem });
  }

  /**
   * Rows that are scored, the highest score first; of equal ones the earlier first.
   * @param {number} [level] only rows of this one
   */
  order(level = 0) {
    const { score } = this;
    const found = new Uint32Array(level ? this.byLevel[level] : this.scored);
    let n = 0;
    for (let row = 0; row < this.rows; row++) if (level ? this.level[row] === level : this.level[row]) found[n++] = row;
    return found.sort((one, other) => score[other] - score[one] || one - other);
  }

  /**
   * @param {number} row
   * @returns {Promise<{field: string, value: unknown, share: number}[] | null>}
   */
  async reasons(row) {
    const number = this.answer[row];
    const blob = this.answers[number - 1]?.reasons;
    if (!blob) return null;
    if (this.parsed.number !== number) this.parsed = { number, reasons: read(await blob.text()) };
    return this.parsed.reasons[this.place[row]] ?? null;
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
