// The VUs of a run: those that are idle, and calls to any of them. Used by run.mjs and, for each scenario, scenario-run.mjs.
import { COUNTERS } from './counters.mjs';
import { EXIT, HostError } from './errors.mjs';

export class Pool {
  #threads;
  #counters;
  #idle = [];
  #last = 0;

  constructor(threads, counters) {
    this.#threads = threads;
    this.#counters = counters;
  }

  /** Makes `count` VUs. */
  async prepare(count) {
    const made = await Promise.all(Array.from({ length: count }, () => this.grow()));
    this.#idle.push(...made);
  }

  /** Makes one VU more, and returns it. */
  async grow() {
    const id = (this.#last += 1);
    await this.#load(id);
    Atomics.add(this.#counters, COUNTERS.vusInitialized, 1);
    return id;
  }

  get size() {
    return this.#last;
  }

  /** VUs for a scenario: idle ones, and new ones where another scenario has not yet given its own back. */
  async take(count) {
    const taken = this.#idle.splice(0, count);
    const made = await Promise.all(Array.from({ length: count - taken.length }, () => this.grow()));
    return [...taken, ...made];
  }

  give(vu) {
    this.#idle.push(vu);
  }

  async run(vu, call) {
    if (!this.#threads.isAlive(vu)) await this.#load(vu);
    Atomics.add(this.#counters, COUNTERS.vusActive, 1);
    const result = await this.#threads.run(vu, call);
    Atomics.sub(this.#counters, COUNTERS.vusActive, 1);
    return result;
  }

  interrupt(vu) {
    this.#threads.interrupt(vu);
  }

  async #load(vu) {
    const { outcome, error } = await this.#threads.init(vu);
    if (outcome === 'failed') throw new HostError(EXIT.scriptException, error);
  }
}
