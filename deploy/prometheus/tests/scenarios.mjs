// What must fire, and what must not, when something happens to a healthy cluster of three gateways and two
// presence services. `make generate-observability` writes rules.test.yaml from it, which promtool runs.
//
// A scenario changes some series of the healthy cluster and says, for some times, the exact set of alerts
// that fire: so each one also proves that nothing else does.
import { fileURLToPath } from 'node:url';

import { yamlFile } from '../rules.mjs';


const GATEWAYS = ['gw-a', 'gw-b', 'gw-c'];
const PRESENCE = ['presence-1', 'presence-2'];
const MINUTES = 180;

/** One sample a minute. Flat: a value. Growing: {per: each minute}. Phases: [[value or {per}, minutes], …]. */
const FLAT = (value) => [[value, MINUTES]];
const GROWS = (per) => [[{ per }, MINUTES]];

function healthy() {
  const gateway = (metric, samples, labels = {}) => GATEWAYS.map((instance) => ({ metric, samples, labels: { job: 'roomcast-gateway', instance, ...labels } }));
  const presence = (metric, samples, labels = {}) => PRESENCE.map((instance) => ({ metric, samples, labels: { job: 'roomcast-presence', instance, ...labels } }));
  const both = (...args) => [...gateway(...args), ...presence(...args)];
  return [
    ...both('up', FLAT(1)),
    ...both('roomcast_ready', FLAT(1)),
    ...both('roomcast_redis_up', FLAT(1)),
    ...gateway('roomcast_bus_up', FLAT(1)),
    ...gateway('roomcast_lease_held', FLAT(1)),
    ...gateway('roomcast_draining', FLAT(0)),
    ...gateway('roomcast_connections', FLAT(100), { transport: 'websocket' }),
    ...gateway('roomcast_connections', FLAT(5), { transport: 'polling' }),
    ...presence('roomcast_presence_users', FLAT(300)),
    ...gateway('roomcast_connects_total', GROWS(30), { outcome: 'ok' }),
    ...gateway('roomcast_connects_total', GROWS(0), { outcome: 'unavailable' }),
    ...gateway('roomcast_connects_total', GROWS(30), { outcome: 'username_taken' }), // the client's own mistake
    ...gateway('roomcast_delivery_lag_seconds_bucket', GROWS(600), { le: '0.25' }),
    ...gateway('roomcast_delivery_lag_seconds_count', GROWS(600)),
    ...gateway('roomcast_bus_messages_total', GROWS(600)),
    ...gateway('roomcast_resyncs_total', GROWS(0)),
    ...gateway('roomcast_cuts_total', GROWS(0), { reason: 'slow_reader' }),
    ...gateway('roomcast_forwarded_total', GROWS(60), { kind: 'poll', outcome: 'ok' }),
    ...gateway('roomcast_forwarded_total', GROWS(0), { kind: 'poll', outcome: 'unreachable' }),
    ...presence('roomcast_sweep_errors_total', GROWS(0), { step: 'seal', kind: 'unavailable' }),
    ...both('roomcast_redis_duration_seconds_bucket', GROWS(600), { operation: 'publish', le: '0.01' }),
    ...both('roomcast_redis_duration_seconds_bucket', GROWS(600), { operation: 'publish', le: '1' }),
    ...both('roomcast_redis_duration_seconds_bucket', GROWS(600), { operation: 'publish', le: '+Inf' }),
    ...both('process_resident_memory_bytes', FLAT(100e6)),
    ...both('roomcast_memory_limit_bytes', FLAT(512e6)),
    ...both('process_open_fds', FLAT(200)),
    ...both('process_max_fds', FLAT(20000)),
  ];
}

const matches = (series, selector) => {
  const { metric, ...labels } = selector;
  return series.metric === metric && Object.entries(labels).every(([name, value]) => series.labels[name] === value);
};

/** As promtool writes samples; a phase without a value is a target that is gone. */
function values(phases) {
  let total = 0;
  return phases
    .map(([value, minutes]) => {
      if (value === undefined) return `stale _x${minutes - 1}`;
      if (typeof value === 'number') return `${value}x${minutes - 1}`;
      const from = total + value.per;
      total += value.per * minutes;
      return `${from}+${value.per}x${minutes - 1}`;
    })
    .join(' ');
}

const scenarios = [];
/**
 * @param changes [selector, phases][]; phases 'gone' takes the series away
 * @param at {minute: [alerts that fire]}; a burn-rate alert is written `name burn`
 */
function scenario(name, changes, at) {
  let series = healthy();
  for (const [selector, phases] of changes) {
    const hit = series.filter((one) => matches(one, selector));
    if (hit.length === 0) throw new Error(`${name}: no series is ${JSON.stringify(selector)}`);
    if (phases === 'gone') series = series.filter((one) => !hit.includes(one));
    else for (const one of hit) one.samples = phases;
  }
  scenarios.push({
    name,
    interval: '1m',
    input_series: series.map(({ metric, labels, samples }) => ({
      series: `${metric}{namespace="chat",${Object.entries(labels).map(([key, value]) => `${key}="${value}"`).join(',')}}`,
      values: values(samples),
    })),
    promql_expr_test: Object.entries(at).map(([minute, firing]) => ({
      expr: 'count by (alertname, burn) (ALERTS{alertstate="firing"})',
      eval_time: `${minute}m`,
      exp_samples: firing.map((each) => {
        const [, alertname, burn, count] = each.match(/^(\w+)(?: ([\d.]+x))?(?: ×(\d+))?$/);
        return { labels: `{alertname="${alertname}"${burn ? `,burn="${burn}"` : ''}}`, value: Number(count ?? 1) };
      }),
    })),
  });
}

/** From minute 10 for so many minutes, then well again. */
const during = (minutes, bad, good) => [[good, 10], [bad, minutes], [good, MINUTES - 10 - minutes]];
/** A target that is gone from minute 10 for so many minutes: none of its series is there. */
const gone = (instance, minutes) => {
  const own = healthy().filter(({ labels }) => labels.instance === instance);
  return own.map(({ metric, labels, samples }) => [
    { metric, ...labels },
    metric === 'up' ? during(minutes, 0, 1) : during(minutes, undefined, samples[0][0]),
  ]);
};
const gw = (metric, phases, instance = 'gw-a') => [{ metric, instance }, phases];
const all = (metric, phases, labels = {}) => [{ metric, ...labels }, phases];

scenario('a healthy cluster is silent', [], { 5: [], 120: [], 180: [] });

scenario('Redis dies: one alert, whatever else looks broken, and none afterwards', [
  all('roomcast_redis_up', during(20, 0, 1)),
  all('roomcast_bus_up', during(21, 0, 1)),
  all('roomcast_lease_held', during(21, 0, 1)),
  all('roomcast_ready', during(20, 0, 1)),
  all('roomcast_presence_users', during(20, 900, 300)),
  all('roomcast_sweep_errors_total', during(20, { per: 60 }, { per: 0 })),
  all('roomcast_redis_duration_seconds_bucket', during(20, { per: 0 }, { per: 600 }), { le: '0.01' }),
], { 10: [], 12: ['RoomcastRedisDown'], 29: ['RoomcastRedisDown'], 31: [], 33: [], 40: [], 60: [] });

scenario('connects fail while Redis is down: the budget burns with it', [
  all('roomcast_redis_up', during(20, 0, 1)),
  all('roomcast_connects_total', during(20, { per: 0 }, { per: 30 }), { outcome: 'ok' }),
  all('roomcast_connects_total', during(20, { per: 10 }, { per: 0 }), { outcome: 'unavailable' }),
], {
  25: ['RoomcastRedisDown', 'RoomcastConnectsFailing 14.4x', 'RoomcastConnectsFailing 6x'],
  150: ['RoomcastConnectsFailing 1x'],
});

scenario('a gateway dies: that, and no imbalance, storm or ghosts', [
  ...gone('gw-a', 20),
  all('roomcast_presence_users', during(20, 280, 300)),
  ...['gw-b', 'gw-c'].map((instance) => [{ metric: 'roomcast_connects_total', outcome: 'ok', instance }, during(3, { per: 3000 }, { per: 30 })]),
], { 11: [], 13: ['RoomcastGatewayDown'], 29: ['RoomcastGatewayDown'], 31: [], 60: [] });

scenario('no gateway is known', healthy().filter(({ labels }) => labels.job === 'roomcast-gateway').map(({ metric, labels }) => [{ metric, ...labels }, 'gone']), {
  1: [],
  3: ['RoomcastGatewayDown'],
});

scenario('a presence service dies', gone('presence-2', 20), { 11: [], 13: ['RoomcastPresenceDown'], 31: [] });

scenario('no presence service is known', healthy().filter(({ labels }) => labels.job === 'roomcast-presence').map(({ metric, labels }) => [{ metric, ...labels }, 'gone']), {
  1: [],
  3: ['RoomcastPresenceDown'],
});

scenario('the bus of one gateway is down while Redis answers', [gw('roomcast_bus_up', during(20, 0, 1))], {
  12: [],
  14: ['RoomcastBusDown'],
  31: [],
});

scenario('a gateway does not become ready', [gw('roomcast_ready', during(20, 0, 1))], { 14: [], 16: ['RoomcastNotReady'], 31: [] });

scenario('a gateway that drains is not unready, and stuck when it does not end', [
  gw('roomcast_ready', during(20, 0, 1)),
  gw('roomcast_lease_held', during(20, 0, 1)),
  gw('roomcast_draining', during(20, 1, 0)),
], { 11: [], 13: ['RoomcastDrainStuck'], 20: ['RoomcastDrainStuck'], 31: [] });

scenario('a gateway holds no lease while Redis answers', [gw('roomcast_lease_held', during(20, 0, 1))], {
  11: [],
  13: ['RoomcastLeaseLost'],
  31: [],
});

const calmThen = (per) => [[{ per: 30 }, 90], [{ per }, 30], [{ per: 30 }, MINUTES - 120]];
scenario('clients reconnect again and again', [all('roomcast_connects_total', calmThen(600), { outcome: 'ok' })], {
  92: [],
  100: ['RoomcastReconnectStorm'],
  140: [],
});
scenario('a rolling upgrade is no storm', [
  all('roomcast_connects_total', calmThen(600), { outcome: 'ok' }),
  gw('roomcast_draining', [[0, 90], [1, 1], [0, 14], [1, 1], [0, MINUTES - 106]]),
], { 100: [], 110: [] });
scenario('twice the connects are no storm', [all('roomcast_connects_total', calmThen(60), { outcome: 'ok' })], { 100: [] });

scenario('one gateway carries most', [gw('roomcast_connections', FLAT(900))], { 29: [], 31: ['RoomcastConnectionImbalance'] });
scenario('one of few carries most: no matter', [
  all('roomcast_connections', FLAT(2)),
  gw('roomcast_connections', FLAT(60)),
  all('roomcast_presence_users', FLAT(60)),
], { 60: [] });

scenario('many clients read too slowly', [gw('roomcast_cuts_total', during(20, { per: 10 }, { per: 0 }))], {
  10: [],
  18: ['RoomcastSlowReaders'],
  50: [],
});
scenario('a few slow readers are their own matter', [gw('roomcast_cuts_total', [[{ per: 0 }, 10], [{ per: 1 }, 3], [{ per: 0 }, 100]])], { 20: [] });

scenario('ghosts: more users than connections', [all('roomcast_presence_users', during(60, 700, 300))], {
  24: [],
  26: ['RoomcastPresenceDivergence'],
  71: [],
});
scenario('replicas of the presence service differ', [[{ metric: 'roomcast_presence_users', instance: 'presence-1' }, FLAT(200)]], {
  14: [],
  16: ['RoomcastPresenceDivergence'],
});

scenario('nobody is said to be online', [all('roomcast_presence_users', FLAT(0))], { 14: [], 16: ['RoomcastPresenceDivergence'] });

scenario('the sweeper fails while Redis answers', [all('roomcast_sweep_errors_total', during(30, { per: 60 }, { per: 0 }))], {
  12: [],
  18: ['RoomcastSweepFailing'],
  50: [],
});

scenario('Redis is slow', [all('roomcast_redis_duration_seconds_bucket', during(40, { per: 500 }, { per: 600 }), { le: '0.01' })], {
  15: [],
  25: ['RoomcastRedisSlow'],
  70: [],
});

scenario('polls cannot be forwarded', [all('roomcast_forwarded_total', during(30, { per: 20 }, { per: 0 }), { outcome: 'unreachable' })], {
  15: [],
  25: ['RoomcastForwardingFailing'],
  60: [],
});

scenario('memory runs out', [gw('process_resident_memory_bytes', during(30, 500e6, 100e6))], { 15: [], 21: ['RoomcastMemoryNearLimit'], 45: [] });
scenario('open files run out', [gw('process_open_fds', during(30, 19000, 200))], { 12: [], 16: ['RoomcastFilesNearLimit'], 45: [] });

scenario('deliveries are slow for a while', [
  all('roomcast_delivery_lag_seconds_bucket', during(30, { per: 300 }, { per: 600 })),
], { 10: [], 20: ['RoomcastDeliveriesSlow 14.4x', 'RoomcastDeliveriesSlow 6x'], 90: ['RoomcastDeliveriesSlow 1x'] });

scenario('two in a hundred deliveries are slow: nobody is woken', [
  all('roomcast_delivery_lag_seconds_bucket', GROWS(588)),
], { 30: [], 60: ['RoomcastDeliveriesSlow 1x'] });

scenario('messages are lost', [all('roomcast_resyncs_total', during(10, { per: 6 }, { per: 0 }))], {
  10: [],
  18: ['RoomcastMessagesLost 14.4x', 'RoomcastMessagesLost 6x'],
  90: ['RoomcastMessagesLost 1x'],
});

scenario('one failure among three connects in hours: too few to say anything', [
  all('roomcast_connects_total', [[{ per: 0 }, 20], [{ per: 1 }, 1], [{ per: 0 }, MINUTES - 21]]),
], { 25: [], 60: [] });

/** The words of the alerts, once. */
const words = {
  name: 'the words of an alert',
  interval: '1m',
  input_series: [
    { series: 'up{job="roomcast-gateway",instance="gw-a",namespace="chat"}', values: '0x10' },
    { series: 'up{job="roomcast-presence",instance="presence-1",namespace="chat"}', values: '1x10' },
  ],
  alert_rule_test: [{
    eval_time: '5m',
    alertname: 'RoomcastGatewayDown',
    exp_alerts: [{
      exp_labels: { severity: 'page', job: 'roomcast-gateway', instance: 'gw-a', namespace: 'chat' },
      exp_annotations: {
        summary: 'Gateway gw-a does not answer',
        description: 'Prometheus cannot scrape gateway gw-a (or knows no gateway at all). Its clients reconnect to the others.',
        runbook_url: 'docs/OPERATIONS.md#roomcastgatewaydown',
        dashboard_url: '/d/roomcast-cluster',
      },
    }],
  }],
};

/** Every alert that some scenario fires. */
export const fired = new Set(
  scenarios.flatMap((one) => one.promql_expr_test.flatMap((check) => check.exp_samples.map(({ labels }) => labels.match(/"(\w+)"/)[1]))),
);

/** The whole, for these rule files. */
export const testFile = (ruleFiles) =>
  yamlFile('promtool test rules THIS', { rule_files: ruleFiles, evaluation_interval: '1m', tests: [...scenarios, words] });

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const rule = (name) => fileURLToPath(new URL(`../rules/${name}`, import.meta.url));
  process.stdout.write(testFile([rule('slo.yaml'), rule('alerts.yaml')]));
}
