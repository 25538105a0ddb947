// What a script may do on the host, and what it may not: life of an iteration, modules, files, the summary.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { count, run, scenario } from './harness.mjs';

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
