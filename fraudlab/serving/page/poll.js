/** Asks again and again while a view is looked at, and not while it or its tab is hidden. */
export class Poll {
  /** @param {[number, () => Promise<void>][]} tasks seconds between the end of one and the next, and what is done; it throws nothing */
  constructor(tasks) {
    this.tasks = tasks.map(([seconds, act]) => ({ seconds, act, due: 0, busy: false }));
    this.timer = 0;
    document.addEventListener("visibilitychange", () => this.#look());
  }

  start() {
    if (!this.timer) this.timer = window.setInterval(() => this.#look(), 1000);
    this.#look();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
  }

  #look() {
    if (!this.timer || document.hidden) return;
    for (const task of this.tasks) {
      if (task.busy || performance.now() < task.due) continue;
      task.busy = true;
      void task.act().finally(() => {
        task.busy = false;
        task.due = performance.now() + 1000 * task.seconds;
      });
    }
  }
}
