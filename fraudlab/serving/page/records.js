// Rows of a CSV made into the JSON text of records. Numbers stay text: 64-bit ids keep their digits.

import { bare } from "./csv.js";
import { valueOf, write } from "./numbers.js";

/** @typedef {import("./numbers.js").Field} Field */

/** What programs write for a missing number, as fraudlab.features.values has it. */
export const NA_WORDS = new Set([
  ...["NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "NULL", "Null", "null", "NaN", "nan", "None", "none"],
  ...["-", "--", "?", ".", "NaT", "nil", "missing", "#VALUE!", "#DIV/0!", "#REF!", "#NUM!", "#NAME?", "#NULL!", "\\N"],
]);
const MOST = 2n ** 63n - 1n;

/** A cell that is of another type than its field. */
export class Unread extends Error {}

/**
 * The JSON text of a cell; null where it is missing.
 * @param {Field} field
 * @param {string} cell
 * @param {"." | ","} decimal sign of numbers
 * @returns {string | null}
 */
export function jsonOf(field, cell, decimal = ".") {
  if (field.type === "string") return cell === "" ? null : JSON.stringify(cell);
  const text = bare(cell);
  if (field.type !== "datetime" && NA_WORDS.has(text)) return null;
  let plain = text;
  if (decimal === "," && (field.type === "number" || field.type === "integer") && !field.missing_values?.includes(text)) {
    // 1.234 would be 1234 to whoever writes 12,50; which one is meant, only the file's owner knows.
    if (text.includes(".")) throw new Unread(`${shown(cell)} holds a point, where numbers are written with a comma`);
    plain = text.replace(",", ".");
  }
  const { value, problem } = valueOf(plain, field);
  if (problem !== undefined) throw new Unread(`${shown(cell)}: ${problem}`);
  if (value === null) return null;
  if (typeof value === "bigint" && (value > MOST || value < -MOST)) throw new Unread(`${shown(cell)} is beyond 64 bits`);
  if (field.type === "number" && !Number.isFinite(Number(value))) throw new Unread(`${shown(cell)} is too large`);
  return write(value);
}

/** @param {string} cell */
function shown(cell) {
  return `"${cell.length > 40 ? `${cell.slice(0, 40)}…` : cell}"`;
}

/** Makes records of the rows of one file. */
export class Records {
  /**
   * @param {Field[]} fields of the contract
   * @param {string[]} names of the file's columns
   * @param {"." | ","} decimal
   */
  constructor(fields, names, decimal = ".") {
    const at = new Map(names.map((name, n) => [name, n]));
    this.decimal = decimal;
    this.columns = fields.flatMap((field) => {
      const place = at.get(field.name);
      return place === undefined ? [] : [{ field, place, key: JSON.stringify(field.name) }];
    });
    const known = new Set(fields.map((field) => field.name));
    /** Columns that are no fields: they are not sent. */
    this.aside = names.filter((name) => !known.has(name));
    /** Fields that the file has not. */
    this.lacking = fields.filter((field) => !at.has(field.name));
    const plain = new Map(this.lacking.map((field) => [form(field.name), field.name]));
    /** Pairs of a column and the lacking field that it may stand for. */
    this.alike = this.aside.flatMap((name) => {
      const field = plain.get(form(name));
      return field === undefined ? [] : [[name, field]];
    });
  }

  /**
   * @param {import("./csv.js").Row} row
   * @returns {{text: string} | {problem: string}}
   */
  of(row) {
    if (row.problem) return { problem: row.problem };
    const parts = [];
    for (const { field, place, key } of this.columns) {
      let value;
      try {
        value = jsonOf(field, row.cells[place] ?? "", this.decimal);
      } catch (error) {
        if (error instanceof Unread) return { problem: `${field.name}: ${error.message}` };
        throw error;
      }
      if (value !== null) parts.push(`${key}:${value}`);
      else if (field.required) return { problem: `${field.name}: missing${field.why ? ` (${field.why})` : ""}` };
    }
    return { text: `{${parts.join(",")}}` };
  }
}

/** @param {string} name */
function form(name) {
  return name.toLowerCase().replace(/[ \-_.\t]/g, "");
}

/**
 * @typedef {object} Piece consecutive rows of the file, of which one request is made
 * @property {number} first number of its first row
 * @property {number} count of its rows, those that cannot be sent among them
 * @property {number} start byte in the file
 * @property {number} end
 * @property {number} line
 * @property {{row: number, line: number, text: string}[]} records
 * @property {{row: number, line: number, problem: string}[]} refused
 */

/**
 * Cuts rows into pieces that a server takes.
 * @param {AsyncIterable<import("./csv.js").Row>} rows
 * @param {Records} records
 * @param {{max_records: number, max_body_bytes: number}} limits
 * @returns {AsyncGenerator<Piece>}
 */
export async function* piecesOf(rows, records, limits) {
  const encoder = new TextEncoder();
  /** @type {Piece | null} */
  let piece = null;
  let bytes = 2;
  for await (const row of rows) {
    /** @type {{text: string} | {problem: string}} */
    let made = records.of(row);
    let size = "text" in made ? encoder.encode(made.text).length + 1 : 0;
    if (size + 1 > limits.max_body_bytes) {
      made = { problem: `larger than a request may be (${limits.max_body_bytes} bytes)` };
      size = 0;
    }
    if (piece && (piece.count >= limits.max_records || bytes + size > limits.max_body_bytes)) {
      yield piece;
      piece = null;
    }
    if (!piece) {
      piece = { first: row.number, count: 0, start: row.start, end: row.end, line: row.line, records: [], refused: [] };
      bytes = 2;
    }
    piece.count++;
    piece.end = row.end;
    bytes += size;
    const where = { row: row.number, line: row.line };
    if ("text" in made) piece.records.push({ ...where, text: made.text });
    else piece.refused.push({ ...where, problem: made.problem });
  }
  if (piece) yield piece;
}
