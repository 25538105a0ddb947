// One run from the script to the exit code: load, setup(), scenarios, thresholds, teardown(), summary. Called by main.mjs
// and by the tests.
import { resolve } from 'node:path';
import { bundle } from './bundle.mjs';
import { COUNTERS } from './counters.mjs';
import { milliseconds } from './durations.mjs';
import { EXIT, HostError } from './errors.mjs';
import { Metrics } from './metrics.mjs';
import { consolidate, vusAtOnce } from './options.mjs';
import { Pool } from './pool.mjs';
import { ScenarioRun } from './scenario-run.mjs';
import { summaryData, summaryText } from './summary.mjs';
import { Threads } from './threads.mjs';
import { Thresholds } from './thresholds.mjs';

const TICK_MS = 1_000;
/** In ticks. */
const THRESHOLDS_EVERY = 2;
const STAGE_TIMEOUT = '60s';

export class Run {
  #settings;
  #out;
  #metrics = new Metrics();
  #counters = new Int32Array(new SharedArrayBuffer(4 * Object.keys(COUNTERS).length));
  #stop = new AbortController();
  #ended;
  #markedFailed;
  #threads;
  #pool;
  #options;
  #scenarios;
  #functions;
  #thresholds;
  #setupData;
  #started;
  #durationMs = 0;

  /** `settings` are `{script, env, overrides, threads}`; `out` has `log(level, text)`, `progress(text)`, and what files need: `write(name, content)`. */
  constructor(settings, out) {
    this.#settings = settings;
    this.#out = out;
  }

  /** Ends the run early, in order: iterations are interrupted, teardown() and the summary follow. The first reason counts. */
  abort(code, text) {
    if (this.#ended) return;
    this.#ended = { code };
    this.#out.log('error', text);
    this.#stop.abort();
  }

  /** Runs everything; returns the exit code. */
  async execute() {
    try {
      await this.#load();
      await this.#stages();
      await this.#summarize();
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      this.#out.log('error', error.message);
      this.#ended ??= { code: error.code };
    } finally {
      await this.#threads?.stop();
    }
    return this.#exitCode();
  }

  #exitCode() {
    if (this.#ended) return this.#ended.code;
    const failed = this.#thresholds?.failed ?? [];
    if (failed.length > 0) {
      this.#out.log('error', `thresholds were not kept: ${failed.join('; ')}`);
      return EXIT.thresholds;
    }
    return this.#markedFailed ? EXIT.markedAsFailed : 0;
  }

  async #load() {
    const { script, env, overrides, threads } = this.#settings;
    const bundled = await bundle(resolve(script));
    this.#threads = new Threads(threads, { ...bundled, env, counters: this.#counters }, {
      samples: ({ samples }) => samples.forEach(([name, value, tags]) => this.#metrics.add(name, value, tags)),
      log: ({ level, text }) => this.#out.log(level, text, 'console'),
      abort: ({ code, text }) => this.abort(code, text),
      fail: ({ text }) => {
        this.#markedFailed = true;
        this.#out.log('error', text);
      },
      broken: (error) => this.abort(EXIT.scriptException, `a thread of the host ended: ${error.stack ?? error}`),
    });
    const { outcome, value, error } = await this.#threads.init(0);
    if (outcome === 'failed') throw new HostError(EXIT.scriptException, error);
    if (outcome === 'interrupted') return;
    this.#functions = value.functions;
    this.#metrics.declare(value.metrics);
    const given = overrides ? { ...value.options, ...overrides, ...(!overrides.scenarios && { scenarios: undefined }) } : value.options;
    const consolidated = consolidate(JSON.parse(JSON.stringify(given)), value.functions);
    this.#options = consolidated.options;
    this.#scenarios = consolidated.scenarios;
    this.#thresholds = new Thresholds(this.#options.thresholds, this.#metrics);
    this.#threads.configure({ options: this.#options, testStart: Date.now() });
    this.#pool = new Pool(this.#threads, this.#counters);
    await this.#pool.prepare(vusAtOnce(this.#scenarios));
  }

  async #stages() {
    if (this.#ended) return;
    this.#setupData = await this.#stage('setup', EXIT.setupTimeout, [], 'data');
    this.#started = Date.now();
    this.#threads.configure({ options: this.#options, testStart: this.#started });
    this.#sampleVus();
    let ticks = 0;
    const ticker = setInterval(() => this.#tick((ticks += 1)), TICK_MS);
    try {
      const hooks = { iteration: (tags, result) => this.#iteration(tags, result), dropped: (tags, count) => this.#metrics.add('dropped_iterations', count, tags) };
      const runs = this.#scenarios.map((scenario) => new ScenarioRun(scenario, this.#pool, this.#setupData, this.#stop.signal, hooks));
      await Promise.all(runs.map((run) => run.run()));
    } finally {
      clearInterval(ticker);
      this.#durationMs = Date.now() - this.#started;
    }
    this.#out.progress(this.#progress());
    await this.#stage('teardown', EXIT.teardownTimeout, [this.#setupData]);
    this.#thresholds.evaluate(this.#durationMs, true);
    const blocked = this.#threads.sharedBlockedMs;
    if (blocked > 0) {
      this.#out.log('warning', `VUs blocked a thread that others had to use for ${Math.round(blocked)} ms in all (sleep, synchronous requests): latencies above may be too long. Use k6, fewer VUs, or more --threads`);
    }
  }

  /** Runs `setup` or `teardown` where the script has it, in VU 0. */
  async #stage(name, timeoutCode, args, result) {
    if (!this.#functions.includes(name)) return undefined;
    const given = this.#options[`${name}Timeout`] ?? STAGE_TIMEOUT;
    const { outcome, value, error } = await this.#timed(name, milliseconds(given) ?? milliseconds(STAGE_TIMEOUT), timeoutCode, {
      function: name, args, tags: {}, result,
    });
    if (outcome === 'failed') throw new HostError(EXIT.scriptException, `${name}(): ${error}`);
    return value;
  }

  async #timed(name, ms, timeoutCode, call) {
    let late = false;
    const stop = () => this.#threads.interrupt(0);
    const timer = setTimeout(() => {
      late = true;
      stop();
    }, ms);
    if (name === 'setup') this.#stop.signal.addEventListener('abort', stop);
    // Its thread ended with a VU that did not react.
    if (!this.#threads.isAlive(0)) await this.#threads.init(0);
    const result = await this.#threads.run(0, call);
    this.#stop.signal.removeEventListener('abort', stop);
    clearTimeout(timer);
    if (late) throw new HostError(timeoutCode, `${name}() took longer than ${ms} ms`);
    return result;
  }

  #iteration(tags, { outcome, error, ms }) {
    if (outcome === 'interrupted') {
      Atomics.add(this.#counters, COUNTERS.iterationsInterrupted, 1);
      return;
    }
    Atomics.add(this.#counters, COUNTERS.iterationsCompleted, 1);
    this.#metrics.add('iterations', 1, { ...tags, group: '' });
    this.#metrics.add('iteration_duration', ms, { ...tags, group: '' });
    if (outcome === 'failed') this.#out.log('error', error, `scenario ${tags.scenario}`);
  }

  #sampleVus() {
    this.#metrics.add('vus', this.#count('vusActive'), {});
    this.#metrics.add('vus_max', this.#pool.size, {});
  }

  #tick(number) {
    this.#sampleVus();
    this.#out.progress(this.#progress());
    if (number % THRESHOLDS_EVERY !== 0) return;
    const ending = this.#thresholds.evaluate(Date.now() - this.#started, false);
    if (ending) this.abort(EXIT.thresholds, `a threshold ended the run: ${ending.key}: ${ending.expression}`);
  }

  #progress() {
    const counts = { active: this.#count('vusActive'), completed: this.#count('iterationsCompleted'), interrupted: this.#count('iterationsInterrupted') };
    const total = Math.max(...this.#scenarios.map(({ startTime, runsMs }) => startTime + runsMs));
    return { elapsedMs: Date.now() - this.#started, totalMs: total, vus: this.#pool.size, ...counts };
  }

  #count(name) {
    return Atomics.load(this.#counters, COUNTERS[name]);
  }

  async #summarize() {
    if (!this.#started) return;
    const data = summaryData(this.#metrics, this.#thresholds, this.#options, this.#durationMs, this.#setupData);
    let files;
    if (this.#functions.includes('handleSummary')) {
      const ms = milliseconds(this.#options.handleSummaryTimeout ?? '2m');
      const result = await this.#timed('handleSummary', ms, EXIT.genericTimeout, {
        function: 'handleSummary', args: [JSON.stringify(data)], tags: {}, result: 'files',
      });
      if (result.outcome === 'failed') this.#out.log('error', `handleSummary(): ${result.error}`);
      else files = result.value;
    }
    for (const [name, content] of files ?? [['stdout', summaryText(data)]]) this.#out.write(name, content);
  }
}
