// The worker threads that VUs live in, seen from the main thread: where each VU is, and calls to it. Used by run.mjs.
// Each VU has a thread of its own as long as there are threads; beyond that they share them, round robin.
import { Worker } from 'node:worker_threads';
import { HostError, EXIT } from './errors.mjs';

/** VUs over the whole run; what a shared table has room for. */
export const MAX_VUS = 2_000;
/** How long a thread may take to end an iteration that it was told to end, before the thread itself is ended. */
const UNRESPONSIVE_MS = 5_000;

export class Threads {
  #limit;
  #data;
  #on;
  #threads = [];
  #homes = new Map();
  #interrupts = new Int32Array(new SharedArrayBuffer(4 * (MAX_VUS + 1)));
  #settings;

  /** `data` goes to every thread; `on` handles what comes from them: samples, log lines, the end of the run. */
  constructor(limit, data, on) {
    this.#limit = limit;
    this.#data = data;
    this.#on = on;
  }

  /** Sends options and start time to all threads, those of the future included. */
  configure(settings) {
    this.#settings = settings;
    this.#threads.forEach((thread) => thread.post({ type: 'options', ...settings }));
  }

  /** Evaluates the script for a VU. */
  async init(id) {
    if (id > MAX_VUS) throw new HostError(EXIT.invalidConfig, `this host runs ${MAX_VUS} VUs and not more: use k6`);
    const thread = this.#threadOf(id);
    this.#homes.set(id, thread);
    return thread.ask({ type: 'init', vu: id });
  }

  /** Runs a function of the script in a VU; see thread.mjs for what it resolves with. */
  async run(id, call) {
    Atomics.store(this.#interrupts, id, 0);
    return this.#homes.get(id).ask({ type: 'run', vu: id, call });
  }

  /** Whether the VU's thread is alive: one that did not react to an interruption is not. */
  isAlive(id) {
    return !this.#homes.get(id).dead;
  }

  /** Ends the VU's iteration, also one that sleeps or waits for a response. */
  interrupt(id) {
    const thread = this.#homes.get(id);
    Atomics.store(this.#interrupts, id, 1);
    thread.nudge();
    thread.post({ type: 'interrupt', vu: id });
    thread.expectEnd(id);
  }

  /** How long VUs blocked a thread that others needed, in milliseconds. */
  get sharedBlockedMs() {
    return this.#threads.reduce((sum, thread) => sum + thread.blockedMs, 0);
  }

  async stop() {
    await Promise.all(this.#threads.map((thread) => thread.stop()));
  }

  #threadOf(id) {
    const at = id === 0 ? 0 : (id - 1) % this.#limit;
    if (!this.#threads[at] || this.#threads[at].dead) {
      this.#threads[at] = new Thread({ ...this.#data, interrupts: this.#interrupts }, this.#on);
      if (this.#settings) this.#threads[at].post({ type: 'options', ...this.#settings });
    }
    return this.#threads[at];
  }
}

class Thread {
  #worker;
  #wake = new Int32Array(new SharedArrayBuffer(4));
  #pending = new Map();
  #last = 0;
  dead = false;
  blockedMs = 0;

  constructor(data, on) {
    this.#worker = new Worker(new URL('thread.mjs', import.meta.url), { workerData: { ...data, wake: this.#wake } });
    this.#worker.on('message', (message) => {
      if (message.type !== 'result') return on[message.type](message);
      this.blockedMs = message.blockedMs;
      this.#answer(message.request, message);
      return undefined;
    });
    this.#worker.on('error', (error) => on.broken(error));
    this.#worker.on('exit', () => {
      this.dead = true;
      for (const request of [...this.#pending.keys()]) this.#answer(request, { outcome: 'interrupted', ms: 0 });
    });
  }

  post(message) {
    this.#worker.postMessage(message);
  }

  ask(message) {
    if (this.dead) return Promise.resolve({ outcome: 'interrupted', ms: 0 });
    return new Promise((resolve) => {
      const request = (this.#last += 1);
      this.#pending.set(request, { resolve, vu: message.vu });
      this.post({ ...message, request });
    });
  }

  nudge() {
    Atomics.add(this.#wake, 0, 1);
    Atomics.notify(this.#wake, 0);
  }

  /** Ends the thread if what the VU is doing now does not end. */
  expectEnd(vu) {
    const running = [...this.#pending].filter(([, each]) => each.vu === vu).map(([request]) => request);
    setTimeout(() => {
      if (running.some((request) => this.#pending.has(request))) void this.stop();
    }, UNRESPONSIVE_MS).unref();
  }

  #answer(request, result) {
    const found = this.#pending.get(request);
    this.#pending.delete(request);
    found?.resolve(result);
  }

  async stop() {
    this.dead = true;
    await this.#worker.terminate();
  }
}
