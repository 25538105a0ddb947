// The module `k6`: check, fail, group, sleep, randomSeed. Made by vu.mjs.
import { types } from 'node:util';

export function k6Module(vu) {
  const synchronous = (name, code) => {
    if (!types.isAsyncFunction(code)) return;
    throw new vu.realm.TypeError(`${name}() does not support async functions as arguments`);
  };
  const inIteration = (name) => {
    if (!vu.call) throw vu.error(`${name}() cannot be used in the init stage`);
  };

  return {
    check(value, sets, tags) {
      inIteration('check');
      let all = true;
      for (const [name, test] of Object.entries(sets ?? {})) {
        synchronous('check', test);
        let ok = false;
        try {
          ok = Boolean(typeof test === 'function' ? test(value) : test);
        } finally {
          vu.emit('checks', ok ? 1 : 0, { ...tags, check: name });
        }
        all &&= ok;
      }
      return all;
    },

    fail(text = '') {
      throw vu.error(text);
    },

    group(name, code) {
      inIteration('group');
      synchronous('group', code);
      if (name.includes('::')) throw vu.error('the name of a group or check may not contain "::"');
      const before = vu.group;
      const started = performance.now();
      vu.group = `${before}::${name}`;
      try {
        return code();
      } finally {
        vu.emit('group_duration', performance.now() - started);
        vu.group = before;
      }
    },

    sleep(seconds) {
      vu.shared.blocking.sleep(vu, seconds * 1_000);
    },

    randomSeed(seed) {
      vu.realm.Math.random = generator(seed);
    },
  };
}

/** Equal numbers for equal seeds (mulberry32); not those that k6 gives. */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
