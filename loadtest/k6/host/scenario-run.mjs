// One scenario while it runs: its VUs, its clock, its iterations. Made by run.mjs, driven by executors.mjs.
import { setTimeout as sleep } from 'node:timers/promises';
import { EXECUTORS } from './executors.mjs';

export class ScenarioRun {
  #pool;
  #data;
  #signal;
  #hooks;
  #vus = new Set();
  #active = new Set();
  #iterations = 0;
  #perVu = new Map();
  #share = 0;
  #started;

  /** `pool` has the VUs, `data` is the JSON of setup(), `signal` ends the run early, `hooks` count what happens. */
  constructor(scenario, pool, data, signal, hooks) {
    this.scenario = scenario;
    this.#pool = pool;
    this.#data = data;
    this.#signal = signal;
    this.#hooks = hooks;
  }

  /** Waits for the scenario's start time, runs it, and gives its VUs back. */
  async run() {
    await this.#wait(this.scenario.startTime);
    this.#started = Date.now();
    const stop = () => this.#active.forEach((vu) => this.interrupt(vu));
    this.#signal.addEventListener('abort', stop);
    const deadline = setTimeout(stop, this.scenario.runsMs + this.scenario.gracefulStop);
    try {
      if (!this.#signal.aborted) await EXECUTORS[this.scenario.executor](this);
    } finally {
      clearTimeout(deadline);
      this.#signal.removeEventListener('abort', stop);
      this.#vus.forEach((vu) => this.#pool.give(vu));
    }
  }

  get elapsed() {
    return Date.now() - this.#started;
  }

  /** Whether the whole run ends before its time. */
  get isStopped() {
    return this.#signal.aborted;
  }

  /** Whether no iteration begins any more. */
  get isOver() {
    return this.isStopped || this.elapsed >= this.scenario.runsMs;
  }

  /** Waits `ms`, or until no iteration begins any more. */
  pause(ms) {
    return this.#wait(Math.min(ms, Math.max(0, this.scenario.runsMs - this.elapsed)));
  }

  async take(count) {
    const taken = await this.#pool.take(count);
    taken.forEach((vu) => this.#vus.add(vu));
    return taken;
  }

  /** A VU more than were planned. */
  async add() {
    const vu = await this.#pool.grow();
    this.#vus.add(vu);
    return vu;
  }

  /** How much of the iterations has begun; for executors that end by number and not by time. Always true. */
  share(part) {
    this.#share = part;
    return true;
  }

  dropped(count) {
    if (count > 0) this.#hooks.dropped(this.#tags, count);
  }

  interrupt(vu) {
    if (this.#active.has(vu)) this.#pool.interrupt(vu);
  }

  /** One iteration; never rejects. */
  async iterate(vu) {
    const { name, executor, exec, env, runsMs, maxDuration } = this.scenario;
    const own = this.#perVu.get(vu) ?? 0;
    this.#perVu.set(vu, own + 1);
    const call = {
      function: exec,
      iteration: true,
      iterationInScenario: own,
      args: [this.#data],
      env,
      tags: this.#tags,
      scenario: {
        name,
        executor,
        startTime: this.#started,
        iteration: this.#iterations,
        share: this.#share,
        duration: maxDuration === undefined ? runsMs : undefined,
      },
    };
    this.#iterations += 1;
    this.#active.add(vu);
    const result = await this.#pool.run(vu, call);
    this.#active.delete(vu);
    this.#hooks.iteration(this.#tags, result);
  }

  get #tags() {
    return { scenario: this.scenario.name, ...this.scenario.tags };
  }

  async #wait(ms) {
    await sleep(ms, undefined, { signal: this.#signal }).catch(() => {});
  }
}
