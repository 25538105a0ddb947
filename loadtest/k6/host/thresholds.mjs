// k6's thresholds: `{'metric{tag:value}': ['p(95)<500', {threshold, abortOnFail, delayAbortEval}]}`. Called by run.mjs,
// before the run (so that a mistake ends it at once), every two seconds, and at its end.
import { milliseconds } from './durations.mjs';
import { EXIT, HostError } from './errors.mjs';

const EXPRESSION = /^\s*(count|rate|value|avg|min|max|med|p\(\s*\d+(?:\.\d+)?\s*\))\s*(<=|>=|<|>|===|==|!=)\s*(-?\d+(?:\.\d+)?)\s*$/;
const METHODS = { counter: ['count', 'rate'], gauge: ['value'], rate: ['rate'], trend: ['avg', 'min', 'max', 'med', 'p'] };
const COMPARISONS = {
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
  '==': (a, b) => a === b,
  '===': (a, b) => a === b,
  '!=': (a, b) => a !== b,
};

export class Thresholds {
  #all = [];

  constructor(definitions, metrics) {
    for (const [key, list] of Object.entries(definitions ?? {})) {
      const metric = metricOf(key, metrics);
      for (const each of [list].flat()) this.#all.push({ key, metric, ok: true, ...parsed(key, each, metric.type) });
    }
  }

  /** Judges all; during the run, `isOver` false, those without a sample are left out. Returns the one that ends the run, if any. */
  evaluate(elapsedMs, isOver) {
    let ending;
    for (const each of this.#all) {
      if (!isOver && each.metric.sink.samples === 0) continue;
      each.ok = each.holds(statistic(each.metric, each.method, elapsedMs / 1_000));
      if (!each.ok && each.abortOnFail && elapsedMs >= each.delay) ending ??= each;
    }
    return ending;
  }

  get failed() {
    return this.#all.filter(({ ok }) => !ok).map(({ key, expression }) => `${key}: ${expression}`);
  }

  /** Of one metric, as the summary has them; undefined where it has none. */
  of(name) {
    const own = this.#all.filter(({ key, metric }) => metric.name === name || key === name);
    return own.length === 0 ? undefined : Object.fromEntries(own.map(({ expression, ok }) => [expression, { ok }]));
  }
}

const mistake = (text) => new HostError(EXIT.invalidConfig, `thresholds: ${text}`);

/** `metric` or `metric{tag:value,…}`. */
function metricOf(key, metrics) {
  const [, name, , inner] = /^([^{]+)(\{(.*)\})?$/.exec(key) ?? [];
  const metric = name && metrics.get(name.trim());
  if (!metric) throw mistake(`there is no metric "${name ?? key}"`);
  if (inner === undefined) return metric;
  const tags = inner.split(',').filter((pair) => pair.trim() !== '').map((pair) => {
    const at = pair.indexOf(':');
    if (at < 1) throw mistake(`"${key}" has no tag and value in braces`);
    return [pair.slice(0, at), pair.slice(at + 1)].map((text) => text.trim().replace(/^(["'])(.*)\1$/, '$2'));
  });
  return metrics.part(metric, key, Object.fromEntries(tags));
}

function parsed(key, given, type) {
  const { threshold: expression, abortOnFail = false, delayAbortEval = 0 } = typeof given === 'string' ? { threshold: given } : given;
  const [, method, comparison, number] = EXPRESSION.exec(expression) ?? [];
  if (method === undefined) throw mistake(`"${expression}" of ${key} is no threshold`);
  if (!METHODS[type].includes(method.replace(/\(.*/, ''))) throw mistake(`${key} is a ${type}, which has no "${method}"`);
  const delay = milliseconds(delayAbortEval);
  if (delay === undefined) throw mistake(`"${delayAbortEval}" of ${key} is no duration`);
  return { expression, method: method.replaceAll(' ', ''), abortOnFail, delay, holds: (value) => COMPARISONS[comparison](value, Number(number)) };
}

function statistic({ type, sink }, method, seconds) {
  return type === 'trend' ? sink.statistic(method) : sink.values(seconds)[method];
}
