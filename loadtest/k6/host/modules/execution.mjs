// `k6/execution`: where in the run an iteration is, and how to end the run. Made by vu.mjs.
import { COUNTERS } from '../counters.mjs';

export function executionModule(vu) {
  const during = (name) => {
    if (!vu.call) throw vu.error(`getting ${name} in the init stage is not supported`);
    return vu.call;
  };
  const scenario = (name) => {
    const found = during(`scenario.${name}`).scenario;
    if (!found) throw vu.error(`scenario.${name} is only there during an iteration`);
    return found;
  };
  const counter = (name) => (during(`instance.${name}`), Atomics.load(vu.shared.counters, COUNTERS[name]));
  const progress = ({ startTime, duration, share }) =>
    duration === undefined ? share : Math.min(1, (Date.now() - startTime) / duration);

  return {
    scenario: withGetters(vu, 'scenario', {
      name: () => scenario('name').name,
      executor: () => scenario('executor').executor,
      startTime: () => scenario('startTime').startTime,
      progress: () => progress(scenario('progress')),
      iterationInInstance: () => scenario('iterationInInstance').iteration,
      iterationInTest: () => scenario('iterationInTest').iteration,
    }),
    instance: withGetters(vu, 'instance', {
      iterationsInterrupted: () => counter('iterationsInterrupted'),
      iterationsCompleted: () => counter('iterationsCompleted'),
      vusActive: () => counter('vusActive'),
      vusInitialized: () => counter('vusInitialized'),
      currentTestRunDuration: () => (during('instance.currentTestRunDuration'), Date.now() - vu.shared.testStart),
    }),
    test: withGetters(vu, 'test', {
      abort: () => (text) => vu.abort(text === undefined ? 'test aborted' : `test aborted: ${text}`),
      fail: () => (text) => (during('test.fail'), vu.shared.post({ type: 'fail', text: text ?? 'the script marked the test as failed' })),
      options: () => (during('test.options'), vu.realm.JSON.parse(JSON.stringify(vu.options))),
    }),
    vu: withGetters(vu, 'vu', {
      iterationInInstance: () => (during('vu.iterationInInstance'), vu.iterations - 1),
      iterationInScenario: () => (scenario('iterationInScenario'), vu.call.iterationInScenario),
      idInInstance: () => vu.id,
      idInTest: () => vu.id,
      tags: () => vu.tags,
      metrics: () => ({ tags: vu.tags, metadata: vu.metadata }),
    }),
  };
}

/** An object of computed members; any other name is an error. */
function withGetters(vu, name, getters) {
  const members = Object.fromEntries(Object.entries(getters).map(([key, get]) => [key, { get, enumerable: true }]));
  return new Proxy(Object.defineProperties({}, members), {
    get(target, key) {
      if (typeof key === 'string' && !Object.hasOwn(getters, key) && key !== 'toJSON') throw vu.error(`${name} of k6/execution has no "${key}"`);
      return target[key];
    },
  });
}
