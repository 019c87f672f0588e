/** The endpoint that this page lies beside: asked with the key that was typed in, its refusals told in words. */

import { read, write } from "./numbers.js";

const KEPT = "fraudlab key"; // in sessionStorage, which ends with the tab

/**
 * What the server did not do, and why.
 */
export class ServerError extends Error {
  /**
   * @param {number} status of the answer; 0 where none came
   * @param {string} says in words, to be shown
   * @param {{record: number | null, field: string | null, problem: string}[]} [problems] by record and field
   * @param {number | null} [retryAfter] seconds
   */
  constructor(status, says, problems = [], retryAfter = null) {
    super(says);
    this.name = "ServerError";
    this.status = status;
    this.says = says;
    this.problems = problems;
    this.retryAfter = retryAfter;
  }
}

/**
 * Asks the endpoint. Events: `bundle` when an answer comes from another bundle than the one before (then `info()` is of that
 * one), with `detail.first` where it has not answered before: while a deployment goes on, two may answer in turn. `key` when
 * another key is used.
 */
export class Server extends EventTarget {
  /** @param {(says: string) => Promise<string | null>} askKey shows the dialog; null where it was cancelled */
  constructor(askKey) {
    super();
    this._askKey = askKey;
    /** @type {Promise<string | null> | null} */
    this._asking = null;
    /** @type {Promise<any> | null} */
    this._info = null;
    /** Answers of /info by version of the bundle. @type {Map<string, any>} */
    this._infos = new Map();
    /** Whether nothing was answered without a key; then nothing more is asked without one. */
    this._needsKey = false;
    /** Of the bundle that answered last. @type {string | null} */
    this.version = null;
    /** Of all that have answered. @type {Set<string>} */
    this.versions = new Set();
  }

  /** The key in use; "" where none was typed. */
  get key() {
    return sessionStorage.getItem(KEPT) ?? "";
  }

  /** @param {string} key */
  useKey(key) {
    if (key) sessionStorage.setItem(KEPT, key);
    else sessionStorage.removeItem(KEPT);
    this._info = null;
    this._infos.clear();
    this._needsKey = false;
    this.dispatchEvent(new Event("key"));
  }

  /**
   * The whole address of a path, behind whatever prefix a proxy puts before it.
   * @param {string} path without a slash before it: `predict?explain=3`
   */
  address(path) {
    return new URL(path, document.baseURI).href;
  }

  /** The answer of /info, asked for once a bundle. */
  info() {
    this._info ??= this.ask("info").catch((error) => {
      this._info = null;
      throw error;
    });
    return this._info;
  }

  /**
   * What a bundle's /info has told; null where it was not asked.
   * @param {string} version
   */
  infoOf(version) {
    return this._infos.get(version) ?? null;
  }

  /**
   * The JSON that the server answers with. Whole numbers beyond 2^53 are BigInt, both ways.
   * @param {string} path relative: `predict`, `alerts?limit=100`
   * @param {{method?: string, body?: any, text?: string, signal?: AbortSignal, quiet?: boolean}} [asked] `text`: a body that is JSON already;
   *   `quiet`: do not ask for a key
   * @returns {Promise<any>}
   * @throws {ServerError} it did not do it; or DOMException "AbortError"
   */
  async ask(path, asked = {}) {
    const key = this.key;
    const keyless = !key && this._needsKey && path !== "health/ready";
    const found = keyless ? { status: 401, said: { error: "none was given" }, retryAfter: null } : await this._answer(path, asked, key);
    if (found.status === 401 && !key) this._needsKey = true;
    if (found.status === 401 && !asked.quiet) {
      const other = await this._otherKey(key);
      if (other !== null) return this.ask(path, asked);
    }
    if (found.status === 422) await this._look(); // the contract may be another bundle's by now
    if (found.status !== 200) throw this._refused(found);
    const version = found.said?.bundle_version;
    if (typeof version === "string") this._answered(version, path === "info" ? found.said : null);
    return found.said;
  }

  /**
   * @param {string} version of the bundle that has answered
   * @param {any} info where that was asked for
   */
  _answered(version, info) {
    if (info) this._infos.set(version, info);
    if (version === this.version) return;
    const [before, first] = [this.version, !this.versions.has(version)];
    this.version = version;
    this.versions.add(version);
    if (before === null) return;
    this._info = this._infos.has(version) ? Promise.resolve(this._infos.get(version)) : null;
    this.dispatchEvent(new CustomEvent("bundle", { detail: { first } }));
  }

  /** Asks which bundle answers; another one is told as an event. What goes wrong is told by what is asked next. */
  async _look() {
    try {
      await this.ask("info", { quiet: true });
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
    }
  }

  /**
   * @param {string} path
   * @param {{method?: string, body?: any, text?: string, signal?: AbortSignal}} asked
   * @param {string} key
   */
  async _answer(path, { method, body, text = body === undefined ? undefined : write(body), signal }, key) {
    /** @type {Record<string, string>} */
    const headers = key ? { "X-API-Key": key } : {};
    if (text !== undefined) headers["Content-Type"] = "application/json";
    try {
      const answer = await fetch(this.address(path), {
        method: method ?? (text === undefined ? "GET" : "POST"),
        headers,
        signal,
        body: text,
        cache: "no-store",
        credentials: "same-origin",
        redirect: "error",
      });
      const answered = await answer.text();
      const wait = Number(answer.headers.get("Retry-After"));
      let said = null;
      try {
        said = read(answered);
      } catch {
        if (answer.ok) throw new ServerError(answer.status, "The answer is no JSON; something stands between this page and the server.");
      }
      return { status: answer.status, said, retryAfter: answer.headers.has("Retry-After") && Number.isFinite(wait) ? wait : null };
    } catch (error) {
      if (error instanceof ServerError || (error instanceof DOMException && error.name === "AbortError")) throw error;
      throw new ServerError(0, "The server does not answer. What you typed is still here; try again when it is back.");
    }
  }

  /** @param {{status: number, said: any, retryAfter: number | null}} found */
  _refused({ status, said, retryAfter }) {
    const says = typeof said?.error === "string" ? said.error : `the server answered with status ${status}`;
    const problems = Array.isArray(said?.problems) ? said.problems : [];
    const words = {
      401: `The server needs a valid key: ${says}.`,
      403: `This key may not do that: ${says}.`,
      429: `The server is busy: ${says}.`,
      503: `The server cannot do that now: ${says}.`,
      504: `The server was too slow: ${says}.`,
    }[status];
    return new ServerError(status, words ?? `${says[0]?.toUpperCase() ?? ""}${says.slice(1)}`, problems, retryAfter);
  }

  /**
   * One dialog for all requests that wait for a key.
   * @param {string} used the key that was refused
   */
  async _otherKey(used) {
    if (this.key !== used) return this.key; // another request has asked meanwhile
    this._asking ??= this._askKey(used ? "The server does not know this key." : "The server answers only with a key.")
      .then((key) => {
        if (key !== null) this.useKey(key);
        return key;
      })
      .finally(() => {
        this._asking = null;
      });
    return this._asking;
  }
}
