/** A form of a bundle's fields, which may be hundreds: grouped, searched, filled from records. */

import { fill, h, unique } from "./dom.js";
import { textOf, valueOf } from "./numbers.js";
import { columnOf, isUnseen } from "./training.js";

/**
 * @typedef {import("./numbers.js").Field} Field
 * @typedef {import("./training.js").Training} Training
 * @typedef {{field: Field, root: HTMLElement, input: HTMLInputElement | HTMLSelectElement, note: HTMLElement}} Control
 */

const SERIES = 4; // fields whose names differ by a number alone: so many are a group of their own
const FIRST = ["id", "time", "amount", "card"]; // roles that come first
const KINDS = { integer: "whole number", number: "number", string: "text", boolean: "true or false", datetime: "date and time" };
const MOST_LISTED = 300; // values that a field proposes

export class RecordForm {
  /**
   * @param {Field[]} fields
   * @param {Training | null} training
   * @param {() => void} changed called when a value is another one
   */
  constructor(fields, training, changed) {
    this._training = training;
    this._changed = changed;
    /** @type {Map<string, Control>} */
    this._controls = new Map();
    /** Texts of fields that the contract has not any more. @type {Map<string, string>} */
    this.left = new Map();
    /** @type {{root: HTMLDetailsElement, names: string[], count: HTMLElement}[]} */
    this._groups = [];
    const groups = grouped(fields).map(({ title, fields: own }, i) => {
      const count = h("span", { class: "hint" });
      const root = h("details", { class: "group", open: i === 0 }, h("summary", {}, h("bdi", {}, title), " ", count),
        h("div", { class: "fields" }, own.map((field) => this._control(field))));
      this._groups.push({ root, names: own.map(({ name }) => name), count });
      return root;
    });
    const search = h("input", { type: "search", id: unique("search"), placeholder: `Search ${fields.length} fields`, "aria-label": "Search the fields", oninput: () => this._filter() });
    const only = h("input", { type: "checkbox", id: unique("only"), onchange: () => this._filter() });
    this._search = search;
    this._only = only;
    this._none = h("p", { class: "hint", hidden: true }, "No field has such a name.");
    this.root = h("div", { class: "form" },
      fields.length > 8 && h("div", { class: "row search" }, search, h("span", {}, only, " ", h("label", { for: only.id }, "only filled ones"))),
      this._none, groups);
    this._count();
  }

  /** @param {Field} field */
  _control(field) {
    const id = unique("field");
    const note = h("span", { class: "note", id: `${id}-note` });
    const about = { id, "aria-describedby": note.id, "aria-required": field.required && "true" };
    const input = field.type === "boolean"
      ? h("select", about, h("option", { value: "" }, "–"), ["true", "false"].map((word) => h("option", { value: word }, word)))
      : h("input", { ...about, type: "text", autocomplete: "off", spellcheck: "false", dir: "auto", inputmode: field.type === "number" ? "decimal" : field.type === "integer" ? "numeric" : null, placeholder: KINDS[field.type] });
    const root = h("div", { class: "field" }, h("label", { for: id }, h("bdi", {}, field.name), field.required && h("span", { class: "needed", title: field.why ?? "needed" }, " needed")), input, note);
    const control = { field, root, input, note };
    input.addEventListener("input", () => {
      this._check(control);
      this._count();
      this._changed();
    });
    input.addEventListener("focus", () => this._propose(control));
    this._controls.set(field.name, control);
    return root;
  }

  /**
   * Gives an input the values that its column may have.
   * @param {Control} control
   */
  _propose({ field, input, root }) {
    root.querySelector("datalist")?.remove();
    input.removeAttribute("list");
    const column = columnOf(this._training, field.name);
    const words = column?.values ?? [];
    const all = [...new Set([...words, ...(column?.words ?? [])])].slice(0, MOST_LISTED);
    if (!all.length || !(input instanceof HTMLInputElement)) return;
    const id = unique("values");
    root.append(h("datalist", { id }, all.map((value) => h("option", { value }))));
    input.setAttribute("list", id);
  }

  /**
   * Says of a value whether it is no such thing, or new to the model.
   * @param {Control} control
   * @returns {any} the value; undefined where the text stands for none
   */
  _check({ field, input, note, root }) {
    const { value, problem } = valueOf(input.value, field);
    const unseen = !problem && isUnseen(columnOf(this._training, field.name), value);
    const says = problem ?? (unseen ? "not seen in the training rows" : "");
    note.textContent = says;
    note.className = problem ? "note problem" : "note medium";
    if (problem) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    root.classList.toggle("filled", input.value !== "");
    return problem ? undefined : value;
  }

  /**
   * Takes what another bundle of the same fields tells of its training rows.
   * @param {Training | null} training
   */
  learn(training) {
    this._training = training;
    for (const control of this._controls.values()) this._check(control);
  }

  _count() {
    for (const { names, count } of this._groups) {
      const own = names.map((name) => this._controls.get(name)).filter((control) => control !== undefined);
      const filled = own.filter(({ input }) => input.value !== "").length;
      const needed = own.filter(({ field, input }) => field.required && input.value === "").length;
      count.textContent = `${filled} of ${own.length} filled${needed ? `, ${needed} needed` : ""}`;
    }
  }

  _filter() {
    const wanted = this._search.value.trim().toLowerCase();
    let shown = 0;
    for (const { root, names } of this._groups) {
      const matching = names.filter((name) => {
        const { root: own, input } = /** @type {Control} */ (this._controls.get(name));
        const matches = name.toLowerCase().includes(wanted) && (!this._only.checked || input.value !== "");
        own.hidden = !matches;
        return matches;
      });
      root.hidden = !matching.length;
      if (wanted || this._only.checked) root.open = true;
      shown += matching.length;
    }
    this._none.hidden = shown > 0;
  }

  /** What was typed, by field. @returns {Map<string, string>} */
  get texts() {
    const own = [...this._controls].map(([name, { input }]) => /** @type {[string, string]} */ ([name, input.value]));
    return new Map([...this.left, ...own.filter(([, text]) => text !== "")]);
  }

  /**
   * Puts texts into the fields in place of what stands there; those of unknown fields are kept aside.
   * @param {Map<string, string>} texts
   */
  put(texts) {
    this.left = new Map([...texts].filter(([name]) => !this._controls.has(name)));
    for (const [name, control] of this._controls) {
      control.input.value = texts.get(name) ?? "";
      this._check(control);
    }
    this._count();
    this._filter();
    this._changed();
  }

  /**
   * Puts a record's values into the fields.
   * @param {Record<string, any>} record
   */
  putRecord(record) {
    const told = Object.entries(record).filter(([, value]) => value !== null);
    this.put(new Map(told.map(([name, value]) => [name, textOf(value)])));
  }

  /**
   * Sets one field.
   * @param {string} name
   * @param {any} value
   */
  set(name, value) {
    const control = this._controls.get(name);
    if (!control) return;
    control.input.value = textOf(value);
    this._check(control);
    this._count();
    this._changed();
  }

  /**
   * The record; null where a text stands for no value, which is then said beside it.
   * @returns {Record<string, any> | null}
   */
  record() {
    /** @type {[string, any][]} */
    const found = [];
    /** @type {string[]} */
    const wrong = [];
    for (const [name, control] of this._controls) {
      const value = this._check(control);
      if (value === undefined) wrong.push(name);
      else if (value !== null) found.push([name, value]);
    }
    if (wrong.length) this._lead(wrong[0]);
    return wrong.length ? null : Object.fromEntries(found);
  }

  /**
   * Says what the server found wrong beside the fields, and leads to the first of them.
   * @param {{field: string | null, problem: string}[]} problems
   * @returns {string[]} those of no field
   */
  show(problems) {
    const others = [];
    let first = null;
    for (const { field, problem } of problems) {
      const control = field === null ? undefined : this._controls.get(field);
      if (!control) {
        others.push(field === null ? problem : `${field}: ${problem}`);
        continue;
      }
      control.note.textContent = problem;
      control.note.className = "note problem";
      control.input.setAttribute("aria-invalid", "true");
      first ??= control.field.name;
    }
    if (first !== null) this._lead(first);
    return others;
  }

  /** @param {string} name */
  _lead(name) {
    const group = this._groups.find(({ names }) => names.includes(name));
    const control = this._controls.get(name);
    if (!group || !control) return;
    this._search.value = "";
    this._only.checked = false;
    this._filter();
    group.root.open = true;
    control.input.focus();
  }
}

/**
 * Fields in groups: first those of a role that comes first and all others, then each series, such as V1 to V339.
 * @param {Field[]} fields
 */
function grouped(fields) {
  /** @type {Map<string, Field[]>} */
  const series = new Map();
  for (const field of fields) {
    const prefix = /^(.*?)\d+$/.exec(field.name)?.[1];
    if (prefix !== undefined) series.set(prefix, [...(series.get(prefix) ?? []), field]);
  }
  const large = [...series].filter(([, own]) => own.length >= SERIES && own.length < fields.length);
  const inSeries = new Set(large.flatMap(([, own]) => own));
  const order = (/** @type {Field} */ { role }) => (FIRST.includes(role) ? FIRST.indexOf(role) : FIRST.length);
  const rest = fields.filter((field) => !inSeries.has(field)).sort((one, other) => order(one) - order(other));
  return [
    ...(rest.length ? [{ title: "Main fields", fields: rest }] : []),
    ...large.map(([, own]) => ({ title: `${own[0].name} to ${own.at(-1)?.name}`, fields: own })),
  ];
}

/**
 * The record in a pasted text: an object, the first of a list, or a line of golden.jsonl.
 * @param {any} said JSON's value
 * @returns {Record<string, any> | null}
 */
export function recordOf(said) {
  const one = Array.isArray(said) ? said[0] : said;
  if (one === null || typeof one !== "object" || Array.isArray(one)) return null;
  return "record" in one && typeof one.record === "object" && one.record !== null ? one.record : one;
}

/**
 * A button beside a text that puts it on the clipboard, or selects it where the browser allows no more.
 * @param {string} title
 * @param {string} text
 */
export function copied(title, text) {
  const shown = h("pre", { tabindex: 0, "aria-label": title }, text);
  const button = h("button", { type: "button", class: "quiet", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection()?.selectAllChildren(shown);
      button.textContent = "Selected";
    }
  } }, "Copy");
  const root = h("div", { class: "snippet" });
  fill(root, h("div", { class: "row" }, h("h4", {}, title), button), shown);
  return root;
}
