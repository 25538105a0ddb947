// Durations as k6 writes them: "1h2m3s", "1.5s", "250ms", or a number of milliseconds. Called by options.mjs and by
// modules that take a timeout.

const UNITS = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1, us: 0.001, µs: 0.001 };

/** Milliseconds, or undefined for what is no duration. */
export function milliseconds(value) {
  if (typeof value === 'number') return value >= 0 ? value : undefined;
  if (typeof value !== 'string') return undefined;
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value);
  if (!/^(\d+(\.\d+)?(ms|us|µs|h|m|s))+$/.test(value)) return undefined;
  return [...value.matchAll(/(\d+(?:\.\d+)?)(ms|us|µs|h|m|s)/g)].reduce((sum, [, number, unit]) => sum + Number(number) * UNITS[unit], 0);
}

/** The same the other way round, in whole seconds: 65000 is "1m05s". */
export function clock(ms) {
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`;
}
