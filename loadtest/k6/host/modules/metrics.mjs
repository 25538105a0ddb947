// `k6/metrics`: the script's own metrics. Made by vu.mjs; metrics.mjs of the main thread adds up what they are given.

export function metricsModule(vu) {
  const classOf = (type) =>
    class {
      constructor(name, isTime = false) {
        if (vu.call) throw vu.error('metrics must be declared in the init stage');
        if (!/^[a-zA-Z_][a-zA-Z0-9_]{0,127}$/.test(name)) throw vu.error(`"${name}" is no name for a metric`);
        const known = vu.metrics.get(name);
        if (known && (known.type !== type || known.isTime !== isTime)) throw vu.error(`the metric "${name}" was already declared as another`);
        vu.metrics.set(name, { type, isTime });
        this.name = name;
      }

      add(value, tags) {
        if (!vu.call) throw vu.error('adding to metrics in the init stage is not supported');
        const number = typeof value === 'boolean' ? Number(value) : value;
        if (typeof number === 'number' && !Number.isNaN(number)) {
          vu.emit(this.name, number, tags);
          return;
        }
        const text = `'${value}' is an invalid value for metric '${this.name}', a number or a boolean value is expected`;
        if (vu.options.throw) throw vu.error(text);
        vu.log('warning', text);
      }
    };
  return { Counter: classOf('counter'), Gauge: classOf('gauge'), Rate: classOf('rate'), Trend: classOf('trend') };
}
