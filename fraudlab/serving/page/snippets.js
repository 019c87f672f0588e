/** What to type elsewhere to ask the same. The key stays out of it. */

import { Digits, write } from "./numbers.js";

/**
 * A text as one word of a POSIX shell.
 * @param {string} text
 */
export function shellWord(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * @param {string} address
 * @param {Record<string, any>} record
 */
export function curl(address, record) {
  return `curl ${shellWord(address)} \\
  -H "X-API-Key: $FRAUDLAB_API_KEY" -H 'Content-Type: application/json' \\
  --data-raw ${shellWord(write(record))}`;
}

/**
 * @param {string} address
 * @param {Record<string, any>} record
 */
export function python(address, record) {
  return `import json, os, urllib.request

record = ${literal(record)}
request = urllib.request.Request(
    ${literal(address)},
    json.dumps(record).encode(),
    {"X-API-Key": os.environ.get("FRAUDLAB_API_KEY", ""), "Content-Type": "application/json"},
)
print(json.load(urllib.request.urlopen(request)))`;
}

/**
 * A value as Python writes it. JSON's texts are Python's too.
 * @param {any} value plain, or an object of plain values
 * @returns {string}
 */
function literal(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "string") return ascii(write(value));
  if (typeof value === "object" && !(value instanceof Digits)) {
    return `{${Object.entries(value).map(([name, each]) => `${ascii(write(name))}: ${literal(each)}`).join(", ")}}`;
  }
  return write(value);
}

/** @param {string} text */
function ascii(text) {
  return text.replace(/[\u007f-\u{10ffff}]/gu, (letter) => {
    const code = /** @type {number} */ (letter.codePointAt(0));
    return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
