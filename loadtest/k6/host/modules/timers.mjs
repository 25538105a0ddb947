// `k6/timers`, which are the global timers too. Made by vu.mjs. A timer keeps its iteration alive until it fires or is cleared.

export function timersModule(vu) {
  const running = new Map();
  let last = 0;

  function start(repeats, callback, ms = 0, ...values) {
    if (typeof callback !== 'function') throw new vu.realm.TypeError('the callback of a timer has to be a function');
    if (!vu.call) throw vu.error('timers cannot be started in the init stage');
    const id = (last += 1);
    const timer = (repeats ? setInterval : setTimeout)(() => {
      const { over } = running.get(id);
      if (!repeats) running.delete(id);
      vu.loop.call(callback, ...values);
      if (!repeats) over();
    }, ms);
    const over = vu.loop.hold(() => {
      clearTimeout(timer);
      running.delete(id);
    });
    running.set(id, { timer, over });
    return id;
  }

  function clear(id) {
    const found = running.get(id);
    if (!found) return;
    running.delete(id);
    clearTimeout(found.timer);
    found.over();
  }

  return {
    setTimeout: (...values) => start(false, ...values),
    setInterval: (...values) => start(true, ...values),
    clearTimeout: clear,
    clearInterval: clear,
  };
}
