// The pure parts of the host: durations, schedules of executors, options, metrics, thresholds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clock, milliseconds } from '../durations.mjs';
import { Metrics } from '../metrics.mjs';
import { consolidate, vusAtOnce } from '../options.mjs';
import { constantDue, iterationsDue, vusAt } from '../schedule.mjs';
import { Thresholds } from '../thresholds.mjs';

test('durations', () => {
  for (const [text, ms] of [['30s', 30_000], ['1m30s', 90_000], ['1.5s', 1_500], ['250ms', 250], ['2h', 7_200_000], [500, 500], ['500', 500]]) {
    assert.equal(milliseconds(text), ms, text);
  }
  for (const text of ['', 's', '1x', '-1s', 'soon', undefined, null, -1]) assert.equal(milliseconds(text), undefined, String(text));
  assert.equal(clock(65_000), '1m05s');
});

test('VUs of a ramp', () => {
  const stages = [{ duration: 10_000, target: 10 }, { duration: 5_000, target: 10 }, { duration: 0, target: 4 }, { duration: 4_000, target: 0 }];
  for (const [ms, vus] of [[0, 0], [999, 0], [1_000, 1], [9_999, 9], [10_000, 10], [14_999, 10], [15_000, 4], [15_999, 4], [16_000, 3], [18_999, 1], [19_000, 0], [99_000, 0]]) {
    assert.equal(vusAt(stages, 0, ms), vus, `at ${ms} ms`);
  }
  assert.equal(vusAt([{ duration: 1_000, target: 0 }], 5, 0), 5);
});

test('iterations of rates', () => {
  assert.deepEqual([0, 99, 100, 950, 5_000].map((ms) => constantDue(10, 1_000, 1_000, ms)), [1, 1, 2, 10, 10]);
  // From 0 to 10 a second within 2 s, then 10 a second for 1 s: 10, then 20.
  const stages = [{ duration: 2_000, target: 10 }, { duration: 1_000, target: 10 }];
  assert.deepEqual([0, 1_000, 2_000, 2_500, 3_000, 9_000].map((ms) => iterationsDue(stages, 0, 1_000, ms)), [0, 2, 10, 15, 20, 20]);
  assert.equal(iterationsDue([{ duration: 0, target: 60 }, { duration: 60_000, target: 60 }], 0, 60_000, 30_000), 30);
});

test('options become scenarios with everything k6 fills in', () => {
  const of = (options) => consolidate(options, ['default', 'other']).scenarios;
  assert.deepEqual(of({}).map(({ name, executor, vus, iterations, exec }) => [name, executor, vus, iterations, exec]), [['default', 'per-vu-iterations', 1, 1, 'default']]);
  assert.equal(of({ vus: 2, duration: '3s' })[0].executor, 'constant-vus');
  assert.equal(of({ vus: 2, duration: '3s' })[0].runsMs, 3_000);
  assert.equal(of({ vus: 2, iterations: 4 })[0].executor, 'shared-iterations');
  assert.equal(of({ stages: [{ duration: '1s', target: 7 }] })[0].plannedVus, 7);
  const [first] = of({ scenarios: { first: { executor: 'constant-vus', duration: '1m', exec: 'other' } } });
  assert.deepEqual([first.gracefulStop, first.startTime, first.vus], [30_000, 0, 1]);
});

test('VUs that are needed at once', () => {
  const of = (scenarios) => vusAtOnce(consolidate({ scenarios }, ['default']).scenarios);
  const scenario = (vus, startTime) => ({ executor: 'constant-vus', vus, duration: '10s', gracefulStop: '5s', startTime });
  assert.equal(of({ a: scenario(3, '0s'), b: scenario(4, '14s') }), 7);
  assert.equal(of({ a: scenario(3, '0s'), b: scenario(4, '16s') }), 4);
});

test('mistakes in options are named', () => {
  const mistakes = [
    [{ rps: 5 }, /option "rps"/],
    [{ scenarios: {} }, /there is none/],
    [{ scenarios: { 'a b': { executor: 'constant-vus', duration: '1s' } } }, /letters/],
    [{ scenarios: { a: { executor: 'externally-controlled' } } }, /no executor/],
    [{ scenarios: { a: { executor: 'constant-vus' } } }, /needs "duration"/],
    [{ scenarios: { a: { executor: 'constant-vus', duration: 'long' } } }, /"duration" is a duration/],
    [{ scenarios: { a: { executor: 'constant-vus', duration: '1s', rate: 3 } } }, /no setting "rate"/],
    [{ scenarios: { a: { executor: 'constant-vus', duration: '1s', vus: 1.5 } } }, /whole number/],
    [{ scenarios: { a: { executor: 'constant-vus', duration: '1s', vus: 0 } } }, /more than 0/],
    [{ scenarios: { a: { executor: 'constant-vus', duration: '1s', exec: 'absent' } } }, /exports no function "absent"/],
    [{ scenarios: { a: { executor: 'ramping-vus', stages: [] } } }, /"stages" is a list/],
    [{ scenarios: { a: { executor: 'shared-iterations', vus: 3, iterations: 2 } } }, /fewer iterations/],
  ];
  for (const [options, text] of mistakes) {
    assert.throws(() => consolidate(options, ['default']), (error) => error.code === 104 && text.test(error.message), String(text));
  }
});

/** Metrics with one of each type. */
function filled() {
  const metrics = new Metrics();
  metrics.declare([['times', { type: 'trend', isTime: true }], ['total', { type: 'counter', isTime: false }], ['level', { type: 'gauge', isTime: false }], ['good', { type: 'rate', isTime: false }]]);
  return metrics;
}

test('what metrics add up to', () => {
  const metrics = filled();
  const values = (name, names) => metrics.get(name).sink.values(2, names);
  assert.deepEqual(values('times', ['avg', 'p(95)']), { avg: 0, 'p(95)': 0 });
  for (const value of [10, 40, 20, 30]) metrics.add('times', value, {});
  assert.deepEqual(values('times', ['avg', 'min', 'med', 'max', 'p(90)', 'count']), { avg: 25, min: 10, med: 25, max: 40, 'p(90)': 37, count: 4 });
  for (let value = 0; value < 1_000; value += 1) metrics.add('times', value, {});
  assert.equal(metrics.get('times').sink.statistic('max'), 999);
  for (const value of [3, 4]) metrics.add('total', value, {});
  assert.deepEqual(values('total'), { count: 7, rate: 3.5 });
  for (const value of [3, -1, 2]) metrics.add('level', value, {});
  assert.deepEqual(values('level'), { value: 2, min: -1, max: 3 });
  for (const value of [1, 0, 1, 1]) metrics.add('good', value, {});
  assert.deepEqual(values('good'), { rate: 0.75, passes: 3, fails: 1 });
});

test('thresholds, of metrics and of parts of them', () => {
  const metrics = filled();
  const thresholds = new Thresholds({
    times: ['p(95)<50', 'avg<=25', 'max==40', 'min!=10'],
    'total{scenario:a, kind:"x"}': ['count===3'],
    'total{scenario:b}': ['count>0', 'rate>100'],
    level: ['value>=5'],
    good: [{ threshold: 'rate>0.5' }],
  }, metrics);
  for (const value of [10, 40, 20, 30]) metrics.add('times', value, {});
  metrics.add('total', 3, { scenario: 'a', kind: 'x' });
  metrics.add('total', 5, { scenario: 'a', kind: 'y' });
  metrics.add('total', 7, { scenario: 'b' });
  metrics.add('level', 5, {});
  metrics.add('good', 1, {});
  thresholds.evaluate(2_000, true);
  assert.deepEqual(thresholds.failed, ['times: min!=10', 'total{scenario:b}: rate>100']);
  assert.deepEqual(thresholds.of('total{scenario:b}'), { 'count>0': { ok: true }, 'rate>100': { ok: false } });
  assert.equal(thresholds.of('total'), undefined);
});

test('a threshold without samples counts at the end only', () => {
  const metrics = filled();
  const thresholds = new Thresholds({ total: [{ threshold: 'count>0', abortOnFail: true }] }, metrics);
  assert.equal(thresholds.evaluate(10_000, false), undefined);
  assert.deepEqual(thresholds.failed, []);
  thresholds.evaluate(10_000, true);
  assert.deepEqual(thresholds.failed, ['total: count>0']);
});

test('a threshold ends the run, after its delay', () => {
  const metrics = filled();
  const thresholds = new Thresholds({ good: [{ threshold: 'rate==1', abortOnFail: true, delayAbortEval: '5s' }] }, metrics);
  metrics.add('good', 0, {});
  assert.equal(thresholds.evaluate(4_000, false), undefined);
  assert.equal(thresholds.evaluate(6_000, false).key, 'good');
});

test('mistakes in thresholds are named', () => {
  const mistakes = [
    [{ absent: ['count>0'] }, /no metric "absent"/],
    [{ total: ['avg>0'] }, /total is a counter, which has no "avg"/],
    [{ times: ['p95<3'] }, /"p95<3" of times is no threshold/],
    [{ 'total{scenario}': ['count>0'] }, /no tag and value/],
    [{ total: [{ threshold: 'count>0', delayAbortEval: 'later' }] }, /no duration/],
  ];
  for (const [given, text] of mistakes) {
    assert.throws(() => new Thresholds(given, filled()), (error) => error.code === 104 && text.test(error.message), String(text));
  }
});
