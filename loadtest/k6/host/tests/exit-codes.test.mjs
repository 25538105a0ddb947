// How a run of the host ends, by k6's exit codes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { count, run, scenario, start } from './harness.mjs';

test('exit code 99: thresholds', async (t) => {
  const result = await run(t, `
    import { Counter } from 'k6/metrics';
    const seen = new Counter('seen');
    export const options = { thresholds: { seen: ['count>1'] } };
    export default function () { seen.add(1); }
  `);
  assert.equal(result.code, 99);
  assert.match(result.stderr, /seen: count>1/);
  assert.deepEqual(result.summary.metrics.seen.thresholds, { 'count>1': { ok: false } });
});

test('exit code 99: a threshold that ends the run', async (t) => {
  const begun = Date.now();
  const result = await run(t, scenario({ executor: 'constant-vus', duration: '60s' }, 'seen.add(1); sleep(0.01);')
    .replace('scenarios:', "thresholds: { seen: [{ threshold: 'count<2', abortOnFail: true }] }, scenarios:"));
  assert.equal(result.code, 99);
  assert.ok(Date.now() - begun < 50_000);
});

test('exit code 104: options and thresholds that make no sense', async (t) => {
  assert.equal((await run(t, 'export const options = { vus: "two" }; export default function () {}')).code, 104);
  assert.equal((await run(t, "export const options = { thresholds: { absent: ['count>1'] } }; export default function () {}")).code, 104);
  assert.equal((await run(t, 'export default function () {}', { args: ['--out=json'] })).code, 104);
});

test('exit code 105: Ctrl-C ends iterations, and teardown and summary follow', async (t) => {
  const running = start(t, `
    import { sleep } from 'k6';
    export const options = { vus: 2, duration: '60s' };
    export default function () { console.log('asleep'); sleep(60); }
    export function teardown() { console.log('torn down'); }
    export function handleSummary() { return { stdout: 'summary\\n' }; }
  `);
  await running.until('asleep');
  running.child.kill('SIGINT');
  const { code, stdout, stderr } = await running.ended;
  assert.equal(code, 105, stderr);
  assert.match(stderr, /torn down/);
  assert.equal(stdout, 'summary\n');
});

test('exit code 107: exceptions outside of iterations', async (t) => {
  const cases = [
    ["throw new Error('while loading');\nexport default function () {}", /while loading[\s\S]*script\.ts:1/],
    ["export function setup() { throw new Error('in setup'); }\nexport default function () {}", /setup\(\): Error: in setup/],
    ["export function teardown() { throw new Error('in teardown'); }\nexport default function () {}", /teardown\(\): Error: in teardown/],
    ['export default function ( {', /script\.ts:2:8:/],
    ["import './absent.ts';\nexport default function () {}", /script\.ts:1:.*no file "\.\/absent\.ts"/],
  ];
  for (const [script, text] of cases) {
    const result = await run(t, script);
    assert.equal(result.code, 107, result.stderr);
    assert.match(result.stderr, text);
  }
});

test('exit code 108: test.abort, in setup and in an iteration; the summary is written', async (t) => {
  const inSetup = await run(t, `
    import exec from 'k6/execution';
    export function setup() { exec.test.abort('no server'); }
    export default function () { console.log('not reached'); }
  `);
  assert.equal(inSetup.code, 108, inSetup.stderr);
  assert.match(inSetup.stderr, /test aborted: no server/);
  assert.doesNotMatch(inSetup.stderr, /not reached/);
  const inIteration = await run(t, scenario({ executor: 'constant-vus', vus: 3, duration: '60s' }, `
    if (__VU === 2) exec.test.abort('enough');
    sleep(60);
  `));
  assert.equal(inIteration.code, 108, inIteration.stderr);
  assert.ok(inIteration.summary);
});

test('exit code 110: test.fail lets the run end', async (t) => {
  const result = await run(t, scenario({ executor: 'per-vu-iterations', iterations: 2 }, "if (__ITER === 0) exec.test.fail('wrong'); else seen.add(1);"));
  assert.equal(result.code, 110, result.stderr);
  assert.equal(count(result, 'seen'), 1);
});
