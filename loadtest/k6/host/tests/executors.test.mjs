// k6's executors on the host: which iterations begin, in which VUs, and how they are ended.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { count, run, scenario } from './harness.mjs';

test('per-vu-iterations: each VU has its own numbers and its own module state', async (t) => {
  const result = await run(t, scenario({ executor: 'per-vu-iterations', vus: 3, iterations: 4 }, `
    state += 1;
    console.log(['vu', __VU, exec.vu.idInTest, __ITER, exec.vu.iterationInScenario, state].join(' '));
  `, 'let state = 0;'));
  assert.equal(result.code, 0, result.stderr);
  const lines = [...result.stderr.matchAll(/vu (\d \d \d \d \d)/g)].map(([, line]) => line).sort();
  assert.deepEqual(lines, [1, 2, 3].flatMap((vu) => [0, 1, 2, 3].map((n) => `${vu} ${vu} ${n} ${n} ${n + 1}`)));
  assert.equal(count(result, 'iterations'), 12);
});

test('shared-iterations: every iteration once', async (t) => {
  const result = await run(t, scenario({ executor: 'shared-iterations', vus: 3, iterations: 20 }, `
    console.log('iteration <' + exec.scenario.iterationInTest + '>');
  `));
  assert.equal(result.code, 0, result.stderr);
  const numbers = [...result.stderr.matchAll(/iteration <(\d+)>/g)].map(([, number]) => Number(number));
  assert.deepEqual(numbers.sort((a, b) => a - b), Array.from({ length: 20 }, (_, n) => n));
});

test('constant-vus: for its duration, then as long as the iterations need', async (t) => {
  const result = await run(t, scenario({ executor: 'constant-vus', vus: 2, duration: '1s' }, `
    sleep(0.3);
    at.add(Date.now() - exec.scenario.startTime);
  `));
  assert.equal(result.code, 0, result.stderr);
  const { count: iterations } = result.summary.metrics.iterations.values;
  assert.ok(iterations >= 4 && iterations <= 8, `${iterations} iterations`);
  assert.equal(result.summary.metrics.vus_max.values.value, 2);
  assert.ok(result.summary.metrics.at.values.max >= 1_000, 'the last iteration was not interrupted');
});

test('gracefulStop: what lasts longer is interrupted, asleep or not, and is not counted', async (t) => {
  const result = await run(t, scenario({ executor: 'constant-vus', vus: 3, duration: '500ms', gracefulStop: '100ms' }, `
    seen.add(1);
    if (__VU === 1) sleep(60);
    if (__VU === 2) return new Promise(() => setTimeout(() => {}, 60000));
    if (__VU === 3) setInterval(() => {}, 10);
  `));
  assert.equal(result.code, 0, result.stderr);
  assert.equal(count(result, 'seen'), 3);
  assert.equal(count(result, 'iterations'), 0);
});

test('ramping-vus: up and down', async (t) => {
  const stages = [{ duration: '600ms', target: 3 }, { duration: '600ms', target: 0 }];
  const result = await run(t, scenario({ executor: 'ramping-vus', startVUs: 0, stages, gracefulRampDown: '100ms' }, `
    if (!began) console.log('began <' + __VU + '>');
    began = true;
    sleep(0.05);
  `, 'let began = false;'));
  assert.equal(result.code, 0, result.stderr);
  // The third VU is wanted for an instant only: at the top of the ramp.
  const began = [...result.stderr.matchAll(/began <(\d)>/g)].map(([, vu]) => vu);
  assert.ok(began.length >= 2 && began.length <= 3, String(began));
  assert.ok(count(result, 'iterations') > 5);
});

test('constant-arrival-rate: begins as many iterations as were asked for, in more VUs where it has to', async (t) => {
  const settings = { executor: 'constant-arrival-rate', rate: 20, duration: '1s', preAllocatedVUs: 2, maxVUs: 10 };
  const result = await run(t, scenario(settings, 'return new Promise((resolve) => setTimeout(resolve, 200))'));
  assert.equal(result.code, 0, result.stderr);
  assert.equal(count(result, 'iterations') + count(result, 'dropped_iterations'), 20);
  assert.ok(result.summary.metrics.vus_max.values.value > 2);
});

test('ramping-arrival-rate: iterations that find no VU are dropped', async (t) => {
  const settings = { executor: 'ramping-arrival-rate', startRate: 10, stages: [{ duration: '1s', target: 30 }], preAllocatedVUs: 1 };
  const result = await run(t, scenario(settings, 'return new Promise((resolve) => setTimeout(resolve, 300))'));
  assert.equal(result.code, 0, result.stderr);
  const [done, dropped] = [count(result, 'iterations'), count(result, 'dropped_iterations')];
  assert.ok(dropped > 0 && done > 0 && done + dropped >= 18 && done + dropped <= 20, `${done} and ${dropped}`);
});

test('a VU that never yields is ended with its thread', async (t) => {
  const result = await run(t, scenario({ executor: 'constant-vus', vus: 2, duration: '300ms', gracefulStop: '0s' }, `
    if (__VU === 1) for (;;);
    sleep(0.05);
  `));
  assert.equal(result.code, 0, result.stderr);
  assert.ok(count(result, 'iterations') >= 1);
});

test('more VUs than threads share them, and a VU that blocks is reported', async (t) => {
  const result = await run(t, scenario({ executor: 'per-vu-iterations', vus: 6, iterations: 1 }, 'seen.add(1); sleep(0.1);'), { args: ['--threads', '2'] });
  assert.equal(result.code, 0, result.stderr);
  assert.equal(count(result, 'seen'), 6);
  assert.match(result.stderr, /VUs blocked a thread that others had to use/);
});
