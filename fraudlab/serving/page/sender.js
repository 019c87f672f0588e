// Sends the pieces of a file, a few at once, until each has an answer: 429 is waited for, a lost connection is tried
// again, what is refused is told and the rest goes on. It touches no document.

/**
 * @typedef {import("./records.js").Piece} Piece
 * @typedef {Piece["records"][number]} Waiting
 * @typedef {{status: number, said: any, retryAfter: number | null}} Answer
 * @typedef {{score: number, risk_level: "low" | "medium" | "high", reasons?: any[]}} Scored
 */

/**
 * @typedef {object} Told what happens
 * @property {(piece: Piece) => void} read a piece is read; its rows are in order
 * @property {(records: Waiting[], scores: Scored[], version: string) => void} scored
 * @property {(rows: {row: number, line: number, problem: string}[]) => void} refused
 * @property {(piece: Piece) => void} settled all rows of a piece are
 * @property {(state: State) => void} state
 */

/**
 * @typedef {object} State
 * @property {"running" | "paused" | "waiting" | "away" | "halted" | "ended" | "stopped"} name
 * @property {string} [says] why it halted, or what the server said that is waited for
 */

/**
 * @typedef {object} Part of a piece, of which the next request is made
 * @property {Waiting[]} records
 * @property {Piece} piece
 * @property {number} failed answers in a row that are no scores and no refusal
 * @property {number} gone attempts in a row without an answer
 * @property {number} since answers of scores that there had been when it failed first
 */

const USUAL_WAIT = 1;
const LONGEST_WAIT = 60;
const AWAY = [0.5, 1, 2, 4, 5]; // seconds until a lost connection is tried again
const FAILED = 2; // answers in a row after which a request is halved
const HOPELESS = 30; // after which somebody has to look

export class Sender {
  #again = /** @type {Part[]} */ ([]);
  #open = /** @type {Map<Piece, number>} */ (new Map()); // records that wait
  #paused = false;
  #stopped = false;
  #halted = "";
  #error = /** @type {unknown} */ (null);
  #end = new AbortController();
  #sleepers = /** @type {Set<() => void>} */ (new Set()); // wait to be resumed
  #waits = /** @type {Set<{what: "away" | "waiting", says: string, wake: () => void}>} */ (new Set());
  #scored = 0;
  #most = Infinity; // records of a request; falls where they take too long

  /**
   * @param {AsyncIterator<Piece>} pieces
   * @param {(body: string, signal: AbortSignal) => Promise<Answer>} send throws where there is no answer
   * @param {Told} told
   * @param {number} atOnce requests
   */
  constructor(pieces, send, told, atOnce = 4) {
    this.pieces = pieces;
    this.send = send;
    this.told = told;
    this.atOnce = atOnce;
  }

  /** Send all; ends once each row is scored or refused, or after {@link stop}. Throws what reading the file does. */
  async run() {
    this.#say();
    await Promise.all(Array.from({ length: this.atOnce }, () => this.#work().catch((error) => {
      this.#error ??= error; // a fault of this page: no other worker goes on unseen
      this.stop();
    })));
    this.told.state({ name: this.#stopped || this.#error ? "stopped" : "ended" });
    if (this.#error) throw this.#error;
  }

  pause() {
    this.#paused = true;
    this.#say();
  }

  /** Go on after {@link pause}, or after a halt; a wait for a lost connection ends. */
  resume() {
    this.#paused = false;
    this.#halted = "";
    for (const wake of this.#sleepers) wake();
    for (const wait of this.#waits) if (wait.what === "away") wait.wake();
    this.#say();
  }

  /** End; what is on its way is given up. */
  stop() {
    this.#stopped = true;
    this.#end.abort();
    for (const wake of this.#sleepers) wake();
    for (const wait of this.#waits) wait.wake();
  }

  /**
   * Pause, with a reason that somebody has to see.
   * @param {string} says
   */
  halt(says) {
    this.#halted = says;
    this.#say();
  }

  #say() {
    if (this.#stopped) return;
    const waits = [...this.#waits];
    const wait = waits.find((each) => each.what === "away") ?? waits[0];
    if (this.#halted) this.told.state({ name: "halted", says: this.#halted });
    else if (this.#paused) this.told.state({ name: "paused" });
    else if (wait) this.told.state({ name: wait.what, says: wait.says });
    else this.told.state({ name: "running" });
  }

  async #work() {
    while (await this.#go()) {
      let part = this.#again.shift() ?? (await this.#next());
      if (!part) return; // halves that others make, they send themselves
      while (part.records.length && (await this.#go())) part = await this.#deliver(part);
    }
  }

  /** @returns {Promise<Part | null>} */
  async #next() {
    let piece;
    try {
      piece = (await this.pieces.next()).value;
    } catch (error) {
      this.#error ??= error; // what is read already is sent all the same
    }
    if (!piece) return null;
    this.told.read(piece);
    this.#open.set(piece, piece.records.length + piece.refused.length);
    if (piece.refused.length) this.told.refused(piece.refused);
    if (piece.refused.length || !piece.records.length) this.#settle(piece, piece.refused.length);
    return { records: piece.records, piece, failed: 0, gone: 0, since: 0 };
  }

  /** Waits while it is paused; says whether to go on. */
  async #go() {
    while ((this.#paused || this.#halted) && !this.#stopped) {
      await new Promise((/** @type {(value?: any) => void} */ wake) => {
        const sleeper = () => {
          this.#sleepers.delete(sleeper);
          wake();
        };
        this.#sleepers.add(sleeper);
      });
    }
    return !this.#stopped;
  }

  /**
   * Sends records once; gives what is left of them.
   * @param {Part} part
   * @returns {Promise<Part>}
   */
  async #deliver(part) {
    const { records, piece } = part;
    if (records.length > this.#most) return this.#halved(part);
    const away = async (says = "") => {
      if (!this.#stopped) await this.#wait("away", AWAY[Math.min(part.gone, AWAY.length - 1)], says);
      return { ...part, gone: part.gone + 1 };
    };
    let answer;
    try {
      answer = await this.send(`[${records.map((record) => record.text).join(",")}]`, this.#end.signal);
    } catch {
      return away();
    }
    const { status, said } = answer;
    const says = String(said?.error ?? `the server answers ${status}`);
    if (status === 200) {
      if (said?.predictions?.length !== records.length) return away(said?.error ?? "The answer has not a score for each row.");
      this.#scored++;
      this.told.scored(records, said.predictions, said.bundle_version);
      this.#settle(piece, records.length);
      return { ...part, records: [] };
    }
    if (status === 422 || status === 413) return this.#without(part, said?.problems ?? [], says);
    if (status === 429) {
      await this.#wait("waiting", answer.retryAfter ?? USUAL_WAIT, says);
      return part;
    }
    if (status === 408 || status >= 500) {
      const failed = part.failed + 1;
      const since = part.failed ? part.since : this.#scored;
      if (failed >= FAILED && (status === 504 || this.#scored > since)) {
        // Others are answered, so that it is for these records that this one is not; or they are too many.
        if (records.length === 1) return this.#refuse(part, new Map([[0, says]]));
        if (status === 504) this.#most = Math.min(this.#most, Math.ceil(records.length / 2));
        return this.#halved(part);
      }
      if (failed % HOPELESS === 0) this.halt(says);
      else await this.#wait("waiting", answer.retryAfter ?? USUAL_WAIT, says);
      return { ...part, failed, since, gone: 0 };
    }
    this.halt(says); // no key, or too little scope
    return part;
  }

  /**
   * After 422 or 413: the records that are named are refused; where none is, half of them is tried.
   * @param {Part} part
   * @param {{record: number | null, field: string | null, problem: string}[]} problems
   * @param {string} says
   */
  #without(part, problems, says) {
    /** @type {Map<number, string>} */
    const wrong = new Map();
    for (const { record, field, problem } of problems) {
      if (record === null || record >= part.records.length) continue;
      const text = field ? `${field}: ${problem}` : problem;
      wrong.set(record, wrong.has(record) ? `${wrong.get(record)}; ${text}` : text);
    }
    if (!wrong.size && part.records.length > 1) return this.#halved(part);
    return this.#refuse(part, wrong.size ? wrong : new Map([[0, says]]));
  }

  /**
   * @param {Part} part
   * @param {Map<number, string>} wrong problems by place
   */
  #refuse(part, wrong) {
    this.told.refused([...wrong].map(([place, problem]) => ({ row: part.records[place].row, line: part.records[place].line, problem })));
    this.#settle(part.piece, wrong.size);
    return { ...part, records: part.records.filter((_, place) => !wrong.has(place)), failed: 0, gone: 0 };
  }

  /** @param {Part} part */
  #halved({ records, piece }) {
    const half = Math.ceil(records.length / 2);
    const fresh = { piece, failed: 0, gone: 0, since: 0 };
    this.#again.unshift({ ...fresh, records: records.slice(half) });
    return { ...fresh, records: records.slice(0, half) };
  }

  /**
   * @param {Piece} piece
   * @param {number} count of its rows that are done
   */
  #settle(piece, count) {
    const open = (this.#open.get(piece) ?? 0) - count;
    this.#open.set(piece, open);
    if (open > 0) return;
    this.#open.delete(piece);
    this.told.settled(piece);
  }

  /**
   * @param {"away" | "waiting"} what
   * @param {number} seconds
   * @param {string} says
   */
  async #wait(what, seconds, says) {
    await new Promise((/** @type {(value?: any) => void} */ go) => {
      const jitter = what === "waiting" ? 1 + 0.25 * Math.random() : 1; // so that clients do not come back all at once
      const wait = { what, says, wake: () => {} };
      const timer = setTimeout(() => wait.wake(), 1000 * jitter * Math.min(Math.max(seconds, 0), LONGEST_WAIT));
      wait.wake = () => {
        clearTimeout(timer);
        this.#waits.delete(wait);
        go();
      };
      this.#waits.add(wait);
      this.#say();
    });
    this.#say();
  }
}
