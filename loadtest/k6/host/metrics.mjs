// Adds up samples: the metrics that k6 has by itself, those of the script, and the parts of both that thresholds name by
// tags. Filled by run.mjs, read by thresholds.mjs and summary.mjs.

/** k6's own: name to [type, contains]. */
const BUILT_IN = {
  checks: ['rate', 'default'],
  data_received: ['counter', 'data'],
  data_sent: ['counter', 'data'],
  dropped_iterations: ['counter', 'default'],
  group_duration: ['trend', 'time'],
  http_req_blocked: ['trend', 'time'],
  http_req_connecting: ['trend', 'time'],
  http_req_duration: ['trend', 'time'],
  http_req_failed: ['rate', 'default'],
  http_req_receiving: ['trend', 'time'],
  http_req_sending: ['trend', 'time'],
  http_req_tls_handshaking: ['trend', 'time'],
  http_req_waiting: ['trend', 'time'],
  http_reqs: ['counter', 'default'],
  iteration_duration: ['trend', 'time'],
  iterations: ['counter', 'default'],
  vus: ['gauge', 'default'],
  vus_max: ['gauge', 'default'],
  ws_connecting: ['trend', 'time'],
  ws_msgs_received: ['counter', 'default'],
  ws_msgs_sent: ['counter', 'default'],
  ws_ping: ['trend', 'time'],
  ws_session_duration: ['trend', 'time'],
  ws_sessions: ['counter', 'default'],
};

class Counter {
  count = 0;
  samples = 0;
  add(value) {
    this.count += value;
    this.samples += 1;
  }
  values(seconds) {
    return { count: this.count, rate: seconds > 0 ? this.count / seconds : 0 };
  }
}

class Gauge {
  value = 0;
  min = 0;
  max = 0;
  samples = 0;
  add(value) {
    this.min = this.samples === 0 ? value : Math.min(this.min, value);
    this.max = this.samples === 0 ? value : Math.max(this.max, value);
    this.value = value;
    this.samples += 1;
  }
  values() {
    return { value: this.value, min: this.min, max: this.max };
  }
}

class Rate {
  passes = 0;
  samples = 0;
  add(value) {
    if (value !== 0) this.passes += 1;
    this.samples += 1;
  }
  values() {
    return { rate: this.samples > 0 ? this.passes / this.samples : 0, passes: this.passes, fails: this.samples - this.passes };
  }
}

class Trend {
  #numbers = new Float64Array(64);
  #sorted;
  #sum = 0;
  samples = 0;
  add(value) {
    if (this.samples === this.#numbers.length) {
      const larger = new Float64Array(this.samples * 2);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    this.#numbers[this.samples] = value;
    this.samples += 1;
    this.#sum += value;
    this.#sorted = undefined;
  }

  /** Between the two nearest numbers, as k6 does. */
  percentile(percent) {
    const sorted = (this.#sorted ??= this.#numbers.slice(0, this.samples).sort());
    if (sorted.length === 0) return 0;
    const at = (percent / 100) * (sorted.length - 1);
    const below = sorted[Math.floor(at)];
    return below + (sorted[Math.ceil(at)] - below) * (at - Math.floor(at));
  }

  /** One of k6's statistics, by the name it has in summaryTrendStats. */
  statistic(name) {
    const percent = /^p\((\d+(?:\.\d+)?)\)$/.exec(name)?.[1];
    if (percent !== undefined) return this.percentile(Number(percent));
    const found = { avg: () => (this.samples > 0 ? this.#sum / this.samples : 0), min: () => this.percentile(0), med: () => this.percentile(50), max: () => this.percentile(100), count: () => this.samples }[name];
    return found?.();
  }

  values(seconds, names) {
    return Object.fromEntries(names.map((name) => [name, this.statistic(name)]));
  }
}

const SINKS = { counter: Counter, gauge: Gauge, rate: Rate, trend: Trend };

export class Metrics {
  #metrics = new Map();
  /** Checks by group path and name: `{group, name, passes, fails}`. */
  checks = new Map();

  constructor() {
    for (const [name, [type, contains]] of Object.entries(BUILT_IN)) this.#declare(name, type, contains);
  }

  /** The script's metrics, `[name, {type, isTime}]`. */
  declare(metrics) {
    for (const [name, { type, isTime }] of metrics) {
      if (!this.#metrics.has(name)) this.#declare(name, type, isTime ? 'time' : 'default');
    }
  }

  #declare(name, type, contains) {
    this.#metrics.set(name, { name, type, contains, sink: new SINKS[type](), parts: [] });
  }

  get(name) {
    return this.#metrics.get(name);
  }

  /** The part of a metric whose samples have these tags: made when it is asked for first, before the run begins. */
  part(metric, key, tags) {
    const found = metric.parts.find((part) => part.name === key);
    if (found) return found;
    const part = { name: key, type: metric.type, contains: metric.contains, tags: Object.entries(tags), sink: new SINKS[metric.type]() };
    metric.parts.push(part);
    return part;
  }

  add(name, value, tags) {
    const metric = this.#metrics.get(name);
    if (!metric) return;
    metric.sink.add(value);
    for (const part of metric.parts) {
      if (part.tags.every(([tag, wanted]) => String(tags[tag] ?? '') === wanted)) part.sink.add(value);
    }
    if (name === 'checks') this.#addCheck(value, tags);
  }

  #addCheck(value, { group, check }) {
    const key = `${group}::${check}`;
    if (!this.checks.has(key)) this.checks.set(key, { group, name: check, passes: 0, fails: 0 });
    this.checks.get(key)[value ? 'passes' : 'fails'] += 1;
  }

  /** All metrics and parts. */
  *[Symbol.iterator]() {
    for (const metric of this.#metrics.values()) {
      yield metric;
      yield* metric.parts;
    }
  }
}
