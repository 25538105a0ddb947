// The `console` of scripts: each line goes to standard error with its level. Made by vu.mjs.

export function consoleModule(vu) {
  const text = (value) => {
    if (typeof value === 'string') return value;
    if (typeof value?.stack === 'string') return vu.shared.describe(value);
    return JSON.stringify(value) ?? String(value);
  };
  const writer = (level) => (...values) => vu.log(level, values.map(text).join(' '));
  return { log: writer('info'), info: writer('info'), debug: writer('debug'), warn: writer('warning'), error: writer('error') };
}
