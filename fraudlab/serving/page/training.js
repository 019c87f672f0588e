/** Where a value lies among the rows that the model learnt from, in words. */

import { Digits, textOf, percent, short } from "./numbers.js";

/**
 * @typedef {{kind: "number" | "category", edges?: number[], values?: string[], counts?: number[], words?: string[],
 *   all_words?: boolean}} Column what /training tells of a column
 * @typedef {{rows: number, columns: Record<string, Column>}} Training
 */

/**
 * A category as the model tells it apart: 7.0 is 7, the number 7.50 is 7.5.
 * @param {any} value
 */
export function word(value) {
  const text = value instanceof Digits && /[.eE]/.test(value.text) ? String(Number(value.text)) : textOf(value);
  return /^-?\d+\.0*$/.test(text) ? text.replace(/\.0*$/, "") : text;
}

/**
 * What is told of a column, whatever it is called.
 * @param {Training | null} training
 * @param {string} name
 * @returns {Column | undefined}
 */
export function columnOf(training, name) {
  return training && Object.hasOwn(training.columns, name) ? training.columns[name] : undefined;
}

/** @param {number[]} counts */
const sum = (counts) => counts.reduce((total, count) => total + count, 0);

/**
 * Whether the training rows had no such category; false also where that is not known.
 * @param {Column | undefined} column
 * @param {any} value
 */
export function isUnseen(column, value) {
  if (value === null || value === undefined || !column?.all_words || !column.words) return false;
  return !column.words.includes(word(value));
}

/**
 * How a value lies among the training rows; null where nothing is known of its column.
 * @param {Column | undefined} column
 * @param {any} value
 * @returns {string | null}
 */
export function place(column, value) {
  if (!column?.counts) return null;
  const { counts } = column;
  const rows = sum(counts) || 1;
  if (value === null || value === undefined || value === "") {
    const share = (counts.at(-1) ?? 0) / rows;
    return share ? `missing, as in ${percent(share)} of the training rows` : "missing, as in no training row";
  }
  return column.kind === "number" ? ofNumber(column.edges ?? [], counts, Number(value)) : ofCategory(column, rows, value);
}

/**
 * @param {number[]} edges
 * @param {number[]} counts
 * @param {number} value
 */
function ofNumber(edges, counts, value) {
  if (!edges.length || !Number.isFinite(value)) return null;
  const known = counts.slice(0, -1); // the last ones are missing
  const rows = sum(known) || 1;
  const cell = edges.findIndex((edge) => value <= edge);
  if (cell < 0) return "above all values of the training rows";
  const below = sum(known.slice(0, cell)) / rows;
  const above = 1 - below - known[cell] / rows;
  return below >= above ? `higher than ${percent(below)} of the training rows` : `lower than ${percent(above)} of the training rows`;
}

/**
 * @param {Column} column
 * @param {number} rows
 * @param {any} value
 */
function ofCategory(column, rows, value) {
  if (isUnseen(column, value)) return "not seen in the training rows";
  const at = column.values?.indexOf(word(value)) ?? -1;
  if (at >= 0) return `in ${percent((column.counts?.[at] ?? 0) / rows)} of the training rows`;
  return column.values ? "rare in the training rows, or not seen" : null;
}

/**
 * Values to try in a field, in order: those of the training rows, and the present one.
 * @param {import("./numbers.js").Field} field
 * @param {Column | undefined} column
 * @param {any} now
 * @param {number} most
 * @returns {any[]}
 */
export function valuesToTry(field, column, now, most) {
  const none = field.nullable ? [null] : [];
  if (field.type === "boolean") return [true, false, ...none];
  if (field.type === "number" || field.type === "integer") {
    if (column?.kind !== "category") return numbersToTry(field, column, now, most);
    return [...new Set([...(column.values ?? column.words ?? []).map(Number).filter(Number.isSafeInteger).slice(0, 20), now ?? null, ...none])];
  }
  return [...new Set([...(column?.values ?? column?.words ?? []).slice(0, 20), now ?? null, ...none])];
}

/**
 * @param {import("./numbers.js").Field} field
 * @param {Column | undefined} column
 * @param {any} now
 * @param {number} most
 */
function numbersToTry(field, column, now, most) {
  const present = now === null || now === undefined ? null : typeof now === "bigint" ? now : Number(now);
  let edges = column?.edges ?? [];
  if (!edges.length && present !== null) edges = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 5].map((factor) => factor * (Number(present) || 1));
  /** @type {number[]} */
  const found = [];
  edges.forEach((edge, i) => {
    if (i) for (const part of [1 / 3, 2 / 3]) found.push(edges[i - 1] + part * (edge - edges[i - 1]));
    found.push(edge);
  });
  const whole = (/** @type {number} */ value) => (Number.isSafeInteger(value) ? value : BigInt(value)); // or else its last digits are others when written
  const rounded = found.map((value) => (field.type === "integer" ? whole(Math.round(value)) : Number(value.toPrecision(6))))
    .filter((value) => (field.minimum === null || value >= Number(field.minimum)) && (field.maximum === null || value <= Number(field.maximum)));
  const all = [...new Set([...rounded, ...(present === null ? [] : [present])])].sort((one, other) => (one < other ? -1 : Number(one > other)));
  const step = Math.ceil(all.length / (most - 1));
  return all.filter((value, i) => i % step === 0 || i === all.length - 1 || value === present).slice(0, most);
}

/**
 * How high a score ranks among those that were counted, in a sentence.
 * @param {{rows: number, hours: number, edges: number[], counts: number[], reference: number[]}} scores what /scores tells
 * @param {number} score
 */
export function rank({ rows, hours, edges, counts, reference }, score) {
  let cell = edges.findIndex((edge) => edge > score);
  if (cell < 0) cell = edges.length;
  const share = rows ? sum(counts.slice(0, cell)) / rows : null;
  const of = sum(reference);
  const perThousand = of ? (1000 * sum(reference.slice(cell))) / of : null;
  const now = share === null
    ? `This server has scored nothing in the last ${hours} hours.`
    : `Higher than at least ${percent(share)} of the ${short(rows)} transactions that this server scored in the last ${hours} hours.`;
  const before = perThousand === null ? "" : ` Of the rows that the thresholds were chosen on, at most ${short(Math.ceil(perThousand * 10) / 10)} in 1,000 score as high or higher.`;
  return now + before;
}
