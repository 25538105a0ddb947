// The arithmetic of executors: how many VUs, or iterations begun, a moment of a scenario asks for. Pure; called by executors.mjs.

/** The number of VUs at `ms` after the start, going from stage to stage in a straight line. */
export function vusAt(stages, from, ms) {
  let start = 0;
  let before = from;
  for (const { duration, target } of stages) {
    if (ms < start + duration) return before + Math.trunc(((target - before) * (ms - start)) / duration);
    start += duration;
    before = target;
  }
  return before;
}

/** The number of iterations that should have begun at `ms`, where the rate goes from stage to stage in a straight line. */
export function iterationsDue(stages, from, timeUnit, ms) {
  let start = 0;
  let before = from;
  let due = 0;
  for (const { duration, target } of stages) {
    const within = Math.min(Math.max(ms - start, 0), duration);
    const now = duration === 0 ? target : before + ((target - before) * within) / duration;
    due += ((before + now) / 2) * (within / timeUnit);
    start += duration;
    before = target;
  }
  return Math.floor(due + 1e-9);
}

/** The same for a constant rate, whose first iteration begins at once. */
export function constantDue(rate, timeUnit, duration, ms) {
  const period = timeUnit / rate;
  return Math.min(Math.floor(ms / period) + 1, Math.max(1, Math.ceil(duration / period - 1e-9)));
}
