// Whole runs of the host as its users start it: executors, life of a VU, exit codes, summary.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run, start } from './harness.mjs';

/** A script with one scenario; `body` is its default function's. */
const scenario = (settings, body, more = '') => `
  import { sleep } from 'k6';
  import exec from 'k6/execution';
  import { Counter, Trend } from 'k6/metrics';
  const seen = new Counter('seen');
  const at = new Trend('at');
  export const options = { scenarios: { one: ${JSON.stringify(settings)} } };
  ${more}
  export default function (data: unknown) { ${body} }
`;
const count = ({ summary }, name) => summary.metrics[name]?.values.count ?? 0;

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

test('setup, data, teardown, groups, checks and the summary', async (t) => {
  const result = await run(t, `
    import { check, group } from 'k6';
    import { Trend } from 'k6/metrics';
    const time = new Trend('time', true);
    export const options = {
      tags: { run: 'r' },
      summaryTrendStats: ['max', 'p(99)'],
      scenarios: { a: { executor: 'per-vu-iterations', vus: 2, env: { NAME: 'scenario' }, tags: { kind: 'k' } } },
      thresholds: { 'time{kind:k}': ['max<6'], 'time{run:r,scenario:a,own:o}': ['p(99)>1'], checks: ['rate>0.4'], 'checks{check:no}': ['rate==0'] },
    };
    export function setup() { return { list: [1], vu: __VU }; }
    export default function (data: { list: number[]; vu: number }) {
      group('outer', () => group('inner', () => { check(data, { yes: (d) => d.list.push(2) === 2 && d.vu === 0, no: () => false }); }));
      time.add(5, { own: 'o' });
      console.log(__ENV.NAME, __ENV.GIVEN);
    }
    export function teardown(data: unknown) { console.log('teardown', data); }
  `, { args: ['-e', 'GIVEN=yes'] });
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.stderr, /scenario yes/);
  assert.match(result.stderr, /teardown \{"list":\[1\],"vu":0\}/);
  const { metrics, root_group: root, setup_data: data, state } = result.summary;
  assert.deepEqual(data, { list: [1], vu: 0 });
  assert.ok(state.testRunDurationMs > 0);
  assert.deepEqual(metrics.time, { type: 'trend', contains: 'time', values: { max: 5, 'p(99)': 5 } });
  assert.deepEqual(metrics['time{kind:k}'].thresholds, { 'max<6': { ok: true } });
  assert.deepEqual(metrics.checks.values, { rate: 0.5, passes: 2, fails: 2 });
  const inner = root.groups[0].groups[0];
  assert.equal(inner.path, '::outer::inner');
  assert.deepEqual(inner.checks.map(({ name, passes, fails }) => [name, passes, fails]), [['yes', 2, 0], ['no', 0, 2]]);
  assert.equal(metrics.http_reqs, undefined, 'metrics without samples are left out');
});

test('an iteration ends when nothing of it is left, also where a promise never does', async (t) => {
  const result = await run(t, scenario({ executor: 'per-vu-iterations', iterations: 2 }, `
    setTimeout(() => { at.add(__ITER); setTimeout(() => seen.add(1), 20); }, 20);
    await new Promise(() => {});
  `).replace('default function', 'default async function'));
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual([count(result, 'iterations'), count(result, 'seen')], [2, 2]);
});

test('an exception ends its iteration, wherever it is thrown, and the run goes on', async (t) => {
  const result = await run(t, scenario({ executor: 'per-vu-iterations', iterations: 4 }, `
    if (__ITER === 0) throw new Error('thrown at once');
    if (__ITER === 1) setTimeout(() => { throw new Error('thrown by a timer'); }, 1);
    if (__ITER === 2) { void Promise.reject(new Error('rejected')); setTimeout(() => seen.add(1), 5000); }
    if (__ITER === 3) seen.add(1);
  `));
  assert.equal(result.code, 0, result.stderr);
  for (const text of ['thrown at once', 'thrown by a timer', 'rejected']) assert.match(result.stderr, new RegExp(`ERRO.*Error: ${text}\\n\\s+at .*script\\.ts:\\d+:\\d+`));
  assert.deepEqual([count(result, 'iterations'), count(result, 'seen')], [4, 1]);
});

test('a VU that never yields is ended with its thread', async (t) => {
  const result = await run(t, scenario({ executor: 'constant-vus', vus: 2, duration: '300ms', gracefulStop: '0s' }, `
    if (__VU === 1) for (;;);
    sleep(0.05);
  `));
  assert.equal(result.code, 0, result.stderr);
  assert.ok(count(result, 'iterations') >= 1);
});

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

test('files, and what a script may not do', async (t) => {
  const result = await run(t, `
    import { Counter } from 'k6/metrics';
    import { b64encode, b64decode } from 'k6/encoding';
    import { word } from './other.ts';
    const text = open('./data.txt');
    const bytes = open('./data.txt', 'b');
    function refused(name: string, code: () => unknown) {
      try { code(); console.log('allowed', name); } catch (error) { console.log('refused', name, error instanceof Error, (error as Error).message); }
    }
    export default function () {
      console.log([text, bytes instanceof ArrayBuffer, bytes.byteLength, word].join(' '));
      console.log(b64encode(bytes), b64decode('w7w=', 'std', 's'), b64decode('w7w', 'rawstd').byteLength);
      refused('metric', () => new Counter('late'));
      refused('open', () => open('./data.txt'));
      refused('process', () => process.exit(7));
      refused('fetch', () => fetch('http://127.0.0.1'));
      refused('resolve', () => import.meta.resolve('./x'));
    }
  `, { files: { 'data.txt': 'text', 'other.ts': "export const word: string = 'word';" } });
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.stderr, /text true 4 word/);
  assert.match(result.stderr, /dGV4dA== ü 2/);
  assert.doesNotMatch(result.stderr, /allowed/);
  assert.equal([...result.stderr.matchAll(/refused \w+ true/g)].length, 5);
  assert.match(result.stderr, /import\.meta\.resolve is part of k6, but not of the host/);
});

test('imports that this host or k6 does not have are named, with their place', async (t) => {
  const cases = [
    ["import { browser } from 'k6/browser';", /"k6\/browser" is not part of the host/],
    ["import x from 'k6/x/redis';", /"k6\/x\/redis" is not part of the host/],
    ["import x from 'https://example.org/x.js';", /remote module/],
    ["import x from 'lodash';", /is a package/],
    ["import fs from 'node:fs';", /is a package/],
    ["import { got } from 'k6/http';", /No matching export.*got/],
  ];
  for (const [line, text] of cases) {
    const name = /import \{? ?(\w+)/.exec(line)[1];
    const result = await run(t, `${line}\nexport default function () { console.log(${name}); }`);
    assert.equal(result.code, 107, result.stderr);
    assert.match(result.stderr, text);
    assert.match(result.stderr, /script\.ts:1:/);
  }
  const member = await run(t, "import http from 'k6/http';\nexport default function () { (http as any).got(); }");
  assert.match(member.stderr, /k6\/http has no "got"/);
});

test('handleSummary writes text and bytes to where it says', async (t) => {
  const result = await run(t, `
    export default function () {}
    export function handleSummary(data: unknown) {
      return { stdout: 'out\\n', stderr: 'err\\n', 'summary.json': JSON.stringify(data), 'deep/er/file.bin': new Uint8Array([123, 125]).buffer };
    }
  `);
  assert.equal(result.code, 0, result.stderr);
  assert.equal(result.stdout, 'out\n');
  assert.match(result.stderr, /err\n/);
  assert.equal(result.summary.metrics.iterations.values.count, 1);
});

test('more VUs than threads share them, and a VU that blocks is reported', async (t) => {
  const result = await run(t, scenario({ executor: 'per-vu-iterations', vus: 6, iterations: 1 }, 'seen.add(1); sleep(0.1);'), { args: ['--threads', '2'] });
  assert.equal(result.code, 0, result.stderr);
  assert.equal(count(result, 'seen'), 6);
  assert.match(result.stderr, /VUs blocked a thread that others had to use/);
});
