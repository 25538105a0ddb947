// A worker thread with one or several VUs. Started and spoken to by threads.mjs; holds a Vu for each, and passes their
// samples and log lines on. A VU that blocks (sleep, a synchronous request) blocks its thread, and so the others there.
import vm from 'node:vm';
import { parentPort, workerData } from 'node:worker_threads';
import { BUNDLE_NAME, describer } from './errors.mjs';
import { Blocking } from './blocking.mjs';
import { Interrupted, Vu } from './vu.mjs';

const FLUSH_MS = 50;

const { code, map, folder, env, wake, interrupts, counters } = workerData;
const describe = describer(map);
const vus = new Map();
let samples = [];

const shared = {
  script: new vm.Script(code, { filename: BUNDLE_NAME }),
  folder,
  env,
  options: {},
  testStart: Date.now(),
  counters,
  blocking: new Blocking(wake, interrupts, () => [...vus.values()].filter((vu) => vu.busy).length > 1),
  describe,
  emit: (name, value, tags) => samples.push([name, value, tags]),
  post: (message) => parentPort.postMessage(message),
};

function flush() {
  if (samples.length === 0) return;
  parentPort.postMessage({ type: 'samples', samples });
  samples = [];
}
setInterval(flush, FLUSH_MS).unref();

/** What is left of a thrown value for the other thread. */
const failure = (error) =>
  error instanceof Interrupted ? { outcome: 'interrupted' } : { outcome: 'failed', error: describe(error) };

const handlers = {
  options({ options, testStart }) {
    Object.assign(shared, { options, testStart });
  },
  init({ vu: id }) {
    const vu = new Vu(id, shared);
    try {
      const facts = vu.load();
      vus.set(id, vu);
      return { outcome: 'complete', value: facts };
    } catch (error) {
      return failure(error);
    }
  },
  async run({ vu: id, call }) {
    const started = performance.now();
    try {
      const value = await vus.get(id).run(call);
      return { outcome: 'complete', value, ms: performance.now() - started };
    } catch (error) {
      return { ...failure(error), ms: performance.now() - started };
    }
  },
  interrupt({ vu: id }) {
    vus.get(id)?.interrupt();
  },
};

parentPort.on('message', async (message) => {
  const result = await handlers[message.type](message);
  flush();
  if (message.request !== undefined) parentPort.postMessage({ type: 'result', request: message.request, blockedMs: shared.blocking.sharedMs, ...result });
});

// A rejection that nobody awaits ends the iteration of the VU whose promise it is, as in k6.
process.on('unhandledRejection', (reason, promise) => {
  const vu = [...vus.values()].find((each) => each.owns(promise));
  if (!vu) throw reason;
  vu.loop.fail(reason);
});
