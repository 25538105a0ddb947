// Waiting for conditions, never for time.
import { setTimeout as sleep } from 'node:timers/promises';

/** Fails an `eventually` at once, when its condition cannot become true any more. */
export function hopeless(message) {
  throw Object.assign(new Error(message), { hopeless: true });
}

/** Calls `condition` until it is truthy and returns its value; fails at the deadline, with the reason. */
export async function eventually(condition, { timeout = 10_000, every = 20, what } = {}) {
  const deadline = performance.now() + timeout;
  let reason;
  do {
    try {
      const value = await condition();
      if (value) return value;
      reason = undefined;
    } catch (error) {
      if (error.hopeless) throw error;
      reason = error;
    }
    await sleep(every);
  } while (performance.now() < deadline);
  const name = typeof what === 'function' ? what() : (what ?? String(condition));
  throw new Error(`not within ${timeout} ms: ${name.slice(0, 1_000)}`, { cause: reason });
}

/** Only for tests of an absence, which have no condition to wait for. */
export const quiet = (ms) => sleep(ms);

/** A promise with a deadline. */
export async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** `work` on every item, at most `width` at once, results in order. */
export async function eachBounded(items, width, work) {
  const results = new Array(items.length);
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < items.length; i = next++) results[i] = await work(items[i], i);
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  return results;
}

let counter = 0;
/** A name that no other test uses. */
export const unique = (prefix) => `${prefix}-${process.pid.toString(36)}-${(counter++).toString(36)}`;
