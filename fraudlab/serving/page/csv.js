// CSV files of any size: how a file is laid out, its rows with their places, and cells that a spreadsheet does not run.
// RFC 4180, as the training reads tables: a quote opens at the beginning of a cell alone, lines end with \n, \r\n or \r.

/** What is wrong with a file as a whole, in words. */
export class FileError extends Error {}

/**
 * @typedef {object} Layout
 * @property {string} separator
 * @property {string[]} names of the columns
 * @property {number} start byte at which the rows begin
 * @property {number} line number of the first line after the header, from 1
 * @property {boolean} mark whether the file begins with a byte order mark
 */

/**
 * @typedef {object} Row
 * @property {number} number among the rows that have a value, from 0
 * @property {number} line in the file, from 1
 * @property {number} start first byte
 * @property {number} end byte after the last, its line end among them
 * @property {string[]} cells as they stand, without the quotes around them
 * @property {string} [problem] why the row cannot be read
 */

const SEPARATORS = [",", ";", "\t", "|"];
const HEAD = 1 << 16;
const BLOCK = 1 << 20;
/** Bytes of a row; a quote that is not closed takes up all that comes after it. */
const MOST_BYTES = 1 << 20;
const LOOKED_AT = 50;
const [LF, CR, QUOTE] = [10, 13, 34];
const BLANKS = /^[ \t\r\n\v\f\0\u00a0\u2007\u202f\u3000\ufeff']+|[ \t\r\n\v\f\0\u00a0\u2007\u202f\u3000\ufeff']+$/g;

/**
 * A cell without blanks and single quotes around it, as the training reads it.
 * @param {string} cell
 */
export function bare(cell) {
  return cell.replace(BLANKS, "");
}

/**
 * Separator and header.
 * @param {Blob} file
 * @returns {Promise<Layout>}
 */
export async function layoutOf(file) {
  const head = new Uint8Array(await file.slice(0, HEAD).arrayBuffer());
  if ((head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff) || head.subarray(0, 4096).includes(0)) {
    throw new FileError("The file is no CSV in UTF-8 (UTF-16, or no text at all); save it as CSV, UTF-8.");
  }
  const mark = head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf;
  let start = mark ? 3 : 0;
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(head.subarray(start), { stream: true });
  } catch {
    throw new FileError("The file is not UTF-8; save it as CSV, UTF-8.");
  }
  let line = 1;
  let separator;
  const said = /^sep=(.)\r?\n/.exec(text); // Excel's own line
  if (said) {
    [start, line, separator, text] = [start + said[0].length, 2, said[1], text.slice(said[0].length)];
  }
  separator ??= best(text);
  const splitter = new Splitter(separator, start, line);
  const whole = file.size <= HEAD;
  const rows = splitter.push(head.subarray(start));
  const first = rows.find(hasValue) ?? (whole ? splitter.end() : null);
  if (!first || !hasValue(first)) {
    throw new FileError(text.trim() ? "The header is too long: no line ends where one should." : "The file is empty; give one with a header and rows.");
  }
  if (first.problem) throw new FileError(`The header cannot be read: ${first.problem}.`);
  const names = first.cells.map((name, n) => bare(name) || `column_${n + 1}`);
  const doubled = names.find((name, n) => names.indexOf(name) < n);
  if (doubled !== undefined) throw new FileError(`Two columns are called ${doubled}; rename one.`);
  const next = rows[rows.indexOf(first) + 1];
  return { separator, names, start: first.end, line: next ? next.line : first.line + 1, mark };
}

/**
 * The separator that gives most of the first lines the header's number of cells, and most cells.
 * @param {string} text
 */
function best(text) {
  const bytes = new TextEncoder().encode(text);
  const ranks = SEPARATORS.map((separator) => {
    const rows = new Splitter(separator, 0, 1).push(bytes).filter(hasValue).slice(0, LOOKED_AT);
    const width = rows[0]?.cells.length ?? text.split(/\r|\n/, 1)[0].split(separator).length;
    const like = rows.filter((row) => row.cells.length === width).length / (rows.length || 1);
    return { separator, rank: width < 2 ? 0 : like * 1e6 + width };
  });
  return ranks.reduce((one, other) => (other.rank > one.rank ? other : one)).separator;
}

/** @param {Row} row */
function hasValue(row) {
  return row.problem !== undefined || row.cells.some((cell) => cell !== "");
}

/**
 * The rows that have a value, in order; of the file only some MiB are in memory.
 * @param {Blob} file
 * @param {Layout} layout
 * @param {{start: number, end: number, line: number, number: number}} [part] of the file; all of it unless given
 * @returns {AsyncGenerator<Row>}
 */
export async function* rowsOf(file, layout, part) {
  const { start, end, line, number } = part ?? { ...layout, end: file.size, number: 0 };
  const splitter = new Splitter(layout.separator, start, line);
  let count = number;
  for (let at = start; at < end; at += BLOCK) {
    const bytes = new Uint8Array(await file.slice(at, Math.min(at + BLOCK, end)).arrayBuffer());
    for (const row of splitter.push(bytes)) {
      if (hasValue(row)) yield checked({ ...row, number: count++ }, layout);
    }
  }
  const last = splitter.end();
  if (last && hasValue(last)) yield checked({ ...last, number: count }, layout);
}

/**
 * @param {Row} row
 * @param {Layout} layout
 * @returns {Row}
 */
function checked(row, layout) {
  const width = layout.names.length;
  if (row.problem || row.cells.length <= width || row.cells.slice(width).every((cell) => cell.trim() === "")) return row;
  return { ...row, problem: `${row.cells.length} cells where the header has ${width}` };
}

/** Cuts bytes into rows, and rows into cells. */
class Splitter {
  /**
   * @param {string} separator
   * @param {number} start of the bytes that come first, in the file
   * @param {number} line of them
   */
  constructor(separator, start, line) {
    this.separator = separator;
    this.mark = separator.charCodeAt(0);
    this.start = start;
    this.line = line;
    this.lines = 0; // ends of lines inside of quotes, of the row at hand
    this.rest = new Uint8Array(0);
    this.looked = 0; // bytes of it that were gone through
    this.quoted = false;
    this.atStart = true; // of a cell
    this.closed = false; // the byte before was a quote inside of quotes
    this.decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  }

  /**
   * The rows that end in these bytes.
   * @param {Uint8Array} bytes
   * @returns {Row[]}
   */
  push(bytes) {
    let all = bytes;
    if (this.rest.length) {
      all = new Uint8Array(this.rest.length + bytes.length);
      all.set(this.rest);
      all.set(bytes, this.rest.length);
    }
    /** @type {Row[]} */
    const found = [];
    let from = 0;
    let at = this.looked;
    for (; at < all.length; at++) {
      const byte = all[at];
      if (this.quoted) {
        if (byte === QUOTE) {
          this.closed = !this.closed;
          continue;
        }
        if (!this.closed) {
          if (byte === LF || (byte === CR && all[at + 1] !== LF)) this.lines++;
          continue;
        }
        this.quoted = this.closed = false;
      }
      if (byte === LF || byte === CR) {
        if (byte === CR && at + 1 === all.length) break; // whether \n comes after it, the next bytes say
        const end = byte === CR && all[at + 1] === LF ? at + 2 : at + 1;
        found.push(this.row(all.subarray(from, at), end - from));
        [from, at, this.atStart] = [end, end - 1, true];
      } else if (byte === QUOTE && this.atStart) {
        this.quoted = true;
        this.atStart = false;
      } else if (byte !== 32) {
        this.atStart = byte === this.mark; // blanks before a quote are left aside, as the training does
      }
    }
    this.rest = all.slice(from);
    this.looked = at - from;
    if (this.rest.length > MOST_BYTES) {
      const why = this.quoted ? "a quote opens there and is not closed" : "no line ends there";
      throw new FileError(`Line ${this.line}: ${why} within 1 MiB; correct the file.`);
    }
    return found;
  }

  /**
   * What stands after the last end of a line.
   * @returns {Row | null}
   */
  end() {
    const rest = this.rest;
    if (!rest.length) return null;
    const cut = rest.at(-1) === CR && !(this.quoted && !this.closed) ? rest.subarray(0, -1) : rest;
    const open = this.quoted && !this.closed;
    const row = this.row(cut, rest.length);
    return open ? { ...row, problem: "a quote opens and is not closed" } : row;
  }

  /**
   * @param {Uint8Array} bytes without the line's end
   * @param {number} length with it
   * @returns {Row}
   */
  row(bytes, length) {
    const found = { number: 0, line: this.line, start: this.start, end: this.start + length };
    this.start += length;
    this.line += 1 + this.lines;
    this.lines = 0;
    let text;
    try {
      text = this.decoder.decode(bytes);
    } catch {
      return { ...found, cells: [], problem: "not UTF-8" };
    }
    return { ...found, ...cellsOf(text, this.separator) };
  }
}

/**
 * @param {string} text a row
 * @param {string} separator
 * @returns {{cells: string[], problem?: string}}
 */
function cellsOf(text, separator) {
  if (!text.includes('"')) return { cells: text.split(separator) };
  const cells = [];
  let problem;
  let at = 0;
  for (;;) {
    let from = at;
    while (text[from] === " ") from++;
    let next;
    if (text[from] === '"') {
      let end = from + 1;
      for (;;) {
        end = text.indexOf('"', end);
        if (end < 0 || text[end + 1] !== '"') break;
        end += 2;
      }
      if (end < 0) end = text.length;
      next = text.indexOf(separator, end);
      if (next < 0) next = text.length;
      if (text.slice(end + 1, next).trim()) problem = `text after a closing quote in cell ${cells.length + 1}`;
      cells.push(text.slice(from + 1, end).replaceAll('""', '"'));
    } else {
      next = text.indexOf(separator, at);
      if (next < 0) next = text.length;
      cells.push(text.slice(at, next));
    }
    if (next >= text.length) break;
    at = next + 1;
  }
  return problem ? { cells, problem } : { cells };
}

const PLAIN_NUMBER = /^[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?$/i;

/**
 * Whether a spreadsheet would take a cell for a formula; a number is none.
 * @param {string} cell
 */
export function isFormula(cell) {
  return /^[\s\u00a0]*[=+\-@\t\r＝＋－＠]/.test(cell) && !PLAIN_NUMBER.test(cell);
}

/**
 * A line of CSV. A cell that a spreadsheet would take for a formula has a single quote before it.
 * @param {string[]} cells
 * @param {string} separator
 */
export function lineOf(cells, separator) {
  const written = cells.map((cell) => {
    const text = isFormula(cell) ? `'${cell}` : cell;
    return /["\r\n]|^\s|\s$/.test(text) || text.includes(separator) ? `"${text.replaceAll('"', '""')}"` : text;
  });
  return `${written.join(separator)}\r\n`;
}
