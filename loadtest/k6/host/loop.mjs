// The event loop of one VU: an iteration lasts until its function has returned and no timer, socket or request that it
// began is left, whether or not a promise of the script is still pending. Called by vu.mjs and the modules.

export class Loop {
  /** What is under way, each with the function that ends it. */
  #open = new Set();
  #finish;
  #value;

  get running() {
    return this.#finish !== undefined;
  }

  /** Registers something that keeps the iteration alive, and `stop`, which ends it. Returns what to call when it is over. */
  hold(stop) {
    this.#open.add(stop);
    return () => {
      if (this.#open.delete(stop)) this.#check();
    };
  }

  /** Runs code of the script. An exception in it ends the iteration. */
  call(code, ...values) {
    try {
      return code(...values);
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }

  /** Runs one iteration: resolves with what `start` returned, or rejects with what the script threw. */
  run(start) {
    return new Promise((resolve, reject) => {
      const finish = (error) => {
        if (this.#finish !== finish) return;
        this.#finish = undefined;
        for (const stop of this.#open) stop();
        this.#open.clear();
        if (error) reject(error.thrown);
        else resolve(this.#value);
      };
      this.#finish = finish;
      this.#value = undefined;
      this.call(() => {
        const result = start();
        if (typeof result?.then === 'function') {
          result.then((value) => (this.#value = value), (error) => this.fail(error));
        } else {
          this.#value = result;
        }
      });
      this.#check();
    });
  }

  fail(thrown) {
    this.#finish?.({ thrown });
  }

  #check() {
    const finish = this.#finish;
    if (!finish || this.#open.size > 0) return;
    // After the microtasks: a promise that resolved just now may begin something.
    setImmediate(() => this.#open.size === 0 && finish());
  }
}
