/** JSON whose whole numbers keep all their digits, and values of fields from texts. */

/**
 * A number as it was written, digit by digit.
 */
export class Digits {
  /** @param {string} text a number in JSON's form */
  constructor(text) {
    this.text = text;
  }

  toString() {
    return this.text;
  }
}

const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/**
 * JSON's value; whole numbers that a double cannot hold become BigInt.
 * @param {string} text
 * @returns {any}
 * @throws {SyntaxError} it is no JSON
 */
export function read(text) {
  const mark = `int ${Math.random()} `;
  let large = false;
  const marked = text.replace(TOKENS, (token) => {
    if (token.startsWith('"') || /[.eE]/.test(token) || Number.isSafeInteger(Number(token))) return token;
    large = true;
    return `"${mark}${token}"`;
  });
  if (!large) return JSON.parse(text);
  JSON.parse(text); // or else a faulty text might be made sound
  return JSON.parse(marked, (_, value) =>
    typeof value === "string" && value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value);
}

/**
 * JSON of a value, which may hold BigInt and {@link Digits}.
 * @param {any} value
 * @param {number} [indent] spaces a level; 0 for one line
 * @param {string} [before]
 * @returns {string}
 */
export function write(value, indent = 0, before = "") {
  if (typeof value === "bigint" || value instanceof Digits) return String(value);
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const inner = before + " ".repeat(indent);
  const items = Array.isArray(value)
    ? value.map((each) => write(each, indent, inner))
    : Object.entries(value)
        .filter(([, each]) => each !== undefined)
        .map(([name, each]) => `${JSON.stringify(name)}:${indent ? " " : ""}${write(each, indent, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  if (!items.length) return open + close;
  return indent ? `${open}\n${inner}${items.join(`,\n${inner}`)}\n${before}${close}` : `${open}${items.join(",")}${close}`;
}

/**
 * @typedef {{name: string, type: "integer" | "number" | "string" | "boolean" | "datetime", required: boolean,
 *   nullable: boolean, never_missing: boolean, minimum: number | bigint | null, maximum: number | bigint | null,
 *   missing_values: string[], role: string, why: string | null, example: any}} Field a field of the contract: `schema.fields` of /info
 */

const TRUE = new Set(["true", "1", "yes"]);
const FALSE = new Set(["false", "0", "no"]);

/**
 * The value that a text stands for in a field, as the endpoint wants it. Nothing is rounded: a number goes out with the
 * digits that stand in the text.
 * @param {string} text as typed, or as a cell of a CSV file holds it
 * @param {Pick<Field, "type" | "missing_values">} field
 * @returns {{value: any, problem?: undefined} | {problem: string, value?: undefined}}
 */
export function valueOf(text, field) {
  const plain = text.trim();
  if (plain === "" || (field.missing_values ?? []).includes(plain)) return { value: null };
  if (field.type === "string" || field.type === "datetime") return { value: field.type === "string" ? text : plain };
  if (field.type === "boolean") {
    const word = plain.toLowerCase();
    if (TRUE.has(word) || FALSE.has(word)) return { value: TRUE.has(word) };
    return { problem: "write true or false" };
  }
  if (field.type === "integer") {
    if (!/^[+-]?\d+(?:\.0*)?$/.test(plain)) return { problem: "write a whole number" };
    const whole = BigInt(plain.replace(/\.0*$/, "").replace(/^\+/, ""));
    return { value: Number.isSafeInteger(Number(whole)) ? Number(whole) : whole };
  }
  if (NUMBER.test(plain)) return { value: new Digits(plain) };
  if (/^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(plain)) return { value: Number(plain) };
  return { problem: "write a number, with a point for decimals" };
}

/**
 * The text of a value, as {@link valueOf} takes it.
 * @param {any} value
 * @returns {string}
 */
export function textOf(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "object" && !(value instanceof Digits) ? write(value) : String(value);
}

/**
 * A probability or share in words that are short and never 0 % or 100 % where it is not.
 * @param {number} share
 */
export function percent(share) {
  if (share <= 0 || share >= 1) return `${100 * share} %`;
  const shown = 100 * share;
  const digits = Math.min(shown, 100 - shown) >= 1 ? 1 : 2;
  if (shown < 0.01) return "< 0.01 %";
  if (shown > 99.99) return "> 99.99 %";
  return `${Number(shown.toFixed(digits))} %`;
}

/**
 * A number in few digits.
 * @param {number | bigint | null | undefined} value
 */
export function short(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "bigint" || Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e9)) return value.toExponential(2);
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
}
