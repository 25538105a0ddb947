// Every recording rule and alert, described once. `make generate-observability` writes rules/*.yaml from it:
//
//   node deploy/prometheus/rules.mjs [--factor 1/60] [--out FOLDER]
//
// All durations pass through `d`, so that one factor shortens the whole for tests/live.test.mjs. Each alert
// has its section in docs/OPERATIONS.md and its scenario in tests/scenarios.mjs; tests/static.test.mjs looks.
//
// A cause must not look like five. An alert therefore says `unless` about the causes above it, and looks a
// little back, since what a dead Redis leaves behind is still there for a moment when it has returned.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { Document } from 'yaml';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const UNIT = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 };

/** `5m` times the factor, as Prometheus writes it. */
const scaled = (factor) => (text) => {
  if (factor === 1) return text;
  const ms = Math.max(1, Math.round(parseInt(text, 10) * UNIT[text.at(-1)] * factor));
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
};

/**
 * What users may expect over 30 days. `good` (or `lost`) and `all` count events; `rate` is how many of `all`
 * there must be a second before a share of them says anything.
 */
export const SLOS = [
  {
    name: 'connects',
    alert: 'RoomcastConnectsFailing',
    objective: 0.999,
    rate: 0.02,
    says: 'connects are answered ok; refusals that are the client\'s own mistake do not count',
    symptom: 'Clients cannot connect',
    good: (range) => `sum by (namespace) (rate(roomcast_connects_total{outcome="ok"}[${range}]))`,
    all: (range) => `sum by (namespace) (rate(roomcast_connects_total{outcome!~"bad_.*|username_taken"}[${range}]))`,
  },
  {
    name: 'deliveries',
    alert: 'RoomcastDeliveriesSlow',
    objective: 0.99,
    rate: 0.1,
    says: 'messages are written to the last member on a node within 250 ms of being stored',
    symptom: 'Messages arrive late',
    good: (range) => `sum by (namespace) (rate(roomcast_delivery_lag_seconds_bucket{le="0.25"}[${range}]))`,
    all: (range) => `sum by (namespace) (rate(roomcast_delivery_lag_seconds_count[${range}]))`,
  },
  {
    name: 'loss',
    alert: 'RoomcastMessagesLost',
    objective: 0.9999,
    rate: 0.1,
    says: 'messages that reach a node reach its members: no room there had to be read anew (resync)',
    symptom: 'Rooms lost messages and were read anew',
    lost: (range) => `sum by (namespace) (rate(roomcast_resyncs_total[${range}]))`,
    all: (range) => `sum by (namespace) (rate(roomcast_bus_messages_total[${range}]))`,
  },
];
const WINDOWS = ['5m', '30m', '1h', '6h', '3d'];
/** How fast the budget of 30 days burns, and who is notified: 2 % in an hour, 5 % in six, 10 % in three days. */
const BURNS = [
  { times: 14.4, long: '1h', short: '5m', hold: '2m', severity: 'page', pace: 'an hour spends 2 %' },
  { times: 6, long: '6h', short: '30m', hold: '5m', severity: 'page', pace: 'six hours spend 5 %' },
  { times: 1, long: '3d', short: '6h', hold: '30m', severity: 'ticket', pace: 'three days spend 10 %' },
];

/** The recorded share of bad events; dashboards use it too. */
export const failureShare = (slo, window) => `namespace:roomcast_${slo}_failed:ratio_rate${window}`;
/** Parts of a million as digits, where 1 - 0.9999 is 0.00009999999999998899. */
export const budgetOf = ({ objective }) => Number((1 - objective).toFixed(6));

function recordings(d) {
  return SLOS.flatMap((slo) =>
    WINDOWS.map((window) => {
      const range = d(window);
      const expr = slo.lost
        ? `${slo.lost(range)}\n/\n${slo.all(range)}`
        : `1 - (\n  ${slo.good(range)}\n  /\n  ${slo.all(range)}\n)`;
      return { record: failureShare(slo.name, window), expr };
    }),
  );
}

const RUNBOOK = 'docs/OPERATIONS.md#';
const DASHBOARD = { cluster: '/d/roomcast-cluster', redis: '/d/roomcast-presence-redis', gateway: '/d/roomcast-gateway?var-instance={{ $labels.instance }}' };

/** An alert with everything that one must have. */
const alert = (d, { name, severity, hold, labels, expr, summary, description, dashboard = 'cluster' }) => ({
  alert: name,
  expr,
  for: hold && d(hold),
  labels: { severity, ...labels },
  annotations: {
    summary,
    description,
    runbook_url: RUNBOOK + name.toLowerCase(),
    dashboard_url: DASHBOARD[dashboard],
  },
});

const burnAlerts = (d) =>
  SLOS.flatMap((slo) =>
    BURNS.map(({ times, long, short, hold, severity, pace }) => {
      const limit = Number((times * budgetOf(slo)).toFixed(6));
      return alert(d, {
        name: slo.alert,
        severity,
        hold,
        labels: { slo: slo.name, burn: `${times}x` },
        expr: [
          `${failureShare(slo.name, long)} > ${limit}`,
          `and ${failureShare(slo.name, short)} > ${limit}`,
          `and on (namespace) ${slo.all(d(long))} > ${slo.rate}`,
        ].join('\n'),
        summary: `${slo.symptom}: the error budget burns at ${times} times its pace`,
        description: `{{ $value | humanizePercentage }} failed over ${long}; at this pace ${pace} of the budget of 30 days. Objective: ${Number((slo.objective * 100).toFixed(2))} % of ${slo.says}.`,
      });
    }),
  );

function causeAlerts(d) {
  const gateways = '{job="roomcast-gateway"}';
  const processes = '{job=~"roomcast-(gateway|presence)"}';
  /** Some process could not reach Redis at some time in this window. */
  const redisDown = (ago) => `min by (namespace) (min_over_time(roomcast_redis_up[${d(ago)}])) == 0`;
  /** Some gateway could not be scraped at some time in this window. */
  const gatewayDown = (ago) => `min by (namespace) (min_over_time(up${gateways}[${d(ago)}])) == 0`;
  const draining = (ago) => `max by (namespace) (max_over_time(roomcast_draining[${d(ago)}])) == 1`;
  const unless = (expr, ...causes) => [expr, ...causes.map((cause) => `unless on (namespace) ${cause}`)].join('\n');
  const rate = (metric, window) => `sum by (namespace) (rate(${metric}[${d(window)}]))`;
  const perInstance = 'sum by (namespace, instance) (roomcast_connections)';

  return [
    {
      name: 'RoomcastRedisDown',
      severity: 'page',
      hold: '1m',
      expr: 'count by (namespace) (roomcast_redis_up == 0)',
      summary: 'Redis does not answer',
      description: '{{ $value }} processes cannot reach Redis. Connections stay; sends, joins and connects are refused until it answers.',
      dashboard: 'redis',
    },
    {
      name: 'RoomcastBusDown',
      severity: 'page',
      hold: '3m',
      expr: unless('roomcast_bus_up == 0', redisDown('2m')),
      summary: 'No news reaches {{ $labels.instance }} through Redis',
      description: 'Redis answers commands, but the heartbeat of {{ $labels.instance }} through its pub/sub does not come back: its members get the messages of other gateways late or not at all.',
      dashboard: 'gateway',
    },
    {
      name: 'RoomcastGatewayDown',
      severity: 'page',
      hold: '2m',
      expr: `up${gateways} == 0\nor absent(up${gateways})`,
      summary: 'Gateway {{ $labels.instance }} does not answer',
      description: 'Prometheus cannot scrape gateway {{ $labels.instance }} (or knows no gateway at all). Its clients reconnect to the others.',
    },
    {
      name: 'RoomcastPresenceDown',
      severity: 'ticket',
      hold: '2m',
      expr: [
        'up{job="roomcast-presence"} == 0',
        'or (',
        `  count by (namespace) (up${gateways})`,
        '  unless on (namespace) count by (namespace) (up{job="roomcast-presence"})',
        ')',
      ].join('\n'),
      summary: 'Presence service {{ $labels.instance }} does not answer',
      description: 'Prometheus cannot scrape presence service {{ $labels.instance }} (or knows none). Chat goes on; with none left, the users of a gateway that dies stay online until one is back.',
      dashboard: 'redis',
    },
    {
      name: 'RoomcastNotReady',
      severity: 'ticket',
      hold: '5m',
      expr: unless(
        'roomcast_ready == 0\nunless on (namespace, job, instance) roomcast_draining == 1',
        redisDown('5m'),
      ),
      summary: '{{ $labels.instance }} does not become ready',
      description: '{{ $labels.instance }} runs and is not draining, but wants no traffic. Its /readyz says what is missing.',
      dashboard: 'gateway',
    },
    {
      name: 'RoomcastLeaseLost',
      severity: 'page',
      hold: '2m',
      expr: unless('roomcast_lease_held == 0\nunless on (namespace, job, instance) roomcast_draining == 1', redisDown('5m')),
      summary: 'Gateway {{ $labels.instance }} holds no lease',
      description: 'Redis answers, but {{ $labels.instance }} cannot hold its lease: it writes no presence, and its users are taken for gone.',
      dashboard: 'gateway',
    },
    {
      name: 'RoomcastDrainStuck',
      severity: 'ticket',
      hold: '2m',
      expr: 'roomcast_draining == 1',
      summary: 'Gateway {{ $labels.instance }} does not finish its drain',
      description: '{{ $labels.instance }} has been draining for longer than any grace period; it will be killed, or already should have been.',
      dashboard: 'gateway',
    },
    {
      name: 'RoomcastReconnectStorm',
      severity: 'ticket',
      hold: '5m',
      expr: unless(
        [
          `${rate('roomcast_connects_total{outcome="ok"}', '5m')}`,
          `  > 5 * sum by (namespace) (rate(roomcast_connects_total{outcome="ok"}[${d('1h')}] offset ${d('5m')}))`,
          `and ${rate('roomcast_connects_total{outcome="ok"}', '5m')} > 1`,
          `and sum by (namespace) (roomcast_connections offset ${d('1h')}) > 0`,
        ].join('\n'),
        gatewayDown('15m'),
        redisDown('15m'),
        draining('15m'),
      ),
      summary: 'Clients reconnect again and again',
      description: '{{ $value | humanize }} connects a second, more than five times those of the hour before, with no gateway down, no drain and no Redis outage to explain them.',
    },
    {
      name: 'RoomcastConnectionImbalance',
      severity: 'ticket',
      hold: '30m',
      expr: unless(
        [
          `max by (namespace) (${perInstance}) > 2 * avg by (namespace) (${perInstance})`,
          `and avg by (namespace) (${perInstance}) >= 50`,
        ].join('\n'),
        gatewayDown('30m'),
      ),
      summary: 'One gateway carries more than twice the average',
      description: '{{ $value }} connections on one gateway, more than twice the average of all.',
    },
    {
      name: 'RoomcastSlowReaders',
      severity: 'ticket',
      hold: '5m',
      expr: [
        `sum by (namespace) (increase(roomcast_cuts_total{reason=~"slow_reader|stalled"}[${d('10m')}])) > 5`,
        `and sum by (namespace) (increase(roomcast_cuts_total{reason=~"slow_reader|stalled"}[${d('10m')}]))`,
        '  > 0.01 * sum by (namespace) (roomcast_connections)',
      ].join('\n'),
      summary: 'Many clients read too slowly and are cut',
      description: '{{ $value | humanize }} clients were cut in ten minutes, more than one in a hundred. They come back and recover by `since`.',
    },
    {
      name: 'RoomcastPresenceDivergence',
      severity: 'ticket',
      hold: '15m',
      expr: unless(
        [
          '(',
          '  max by (namespace) (roomcast_presence_users)',
          '    > 1.25 * sum by (namespace) (roomcast_connections) + 10',
          '  or',
          '  max by (namespace) (roomcast_presence_users)',
          '    > 1.25 * min by (namespace) (roomcast_presence_users) + 10',
          '  or',
          '  max by (namespace) (roomcast_presence_users) == 0',
          '    and on (namespace) sum by (namespace) (roomcast_connections) > 10',
          ')',
        ].join('\n'),
        gatewayDown('5m'),
        redisDown('5m'),
      ),
      summary: 'Who is online by the presence service does not fit who is connected',
      description: '{{ $value }} users are online by the presence service. The gateways have far fewer connections (ghosts), or it counts nobody while many are connected, or its replicas differ.',
      dashboard: 'redis',
    },
    {
      name: 'RoomcastSweepFailing',
      severity: 'ticket',
      hold: '5m',
      expr: unless(`${rate('roomcast_sweep_errors_total', '5m')} > 0`, redisDown('5m')),
      summary: 'Dead gateways cannot be swept',
      description: 'Redis answers, but the presence service fails to remove what dead gateways left: their users stay online.',
      dashboard: 'redis',
    },
    {
      name: 'RoomcastRedisSlow',
      severity: 'ticket',
      hold: '10m',
      expr: unless(
        `histogram_quantile(0.99, sum by (namespace, le) (rate(roomcast_redis_duration_seconds_bucket[${d('5m')}]))) > 0.1`,
        redisDown('10m'),
      ),
      summary: 'Redis answers slowly',
      description: 'One request in a hundred takes {{ $value | humanizeDuration }} or more.',
      dashboard: 'redis',
    },
    {
      name: 'RoomcastForwardingFailing',
      severity: 'ticket',
      hold: '10m',
      expr: unless(
        [
          `${rate('roomcast_forwarded_total{outcome=~"unreachable|refused"}', '5m')}`,
          `  / ${rate('roomcast_forwarded_total', '5m')} > 0.05`,
          `and ${rate('roomcast_forwarded_total', '5m')} > 0.1`,
        ].join('\n'),
        gatewayDown('10m'),
      ),
      summary: 'Gateways do not reach each other',
      description: '{{ $value | humanizePercentage }} of the polls and upgrades that reached the wrong gateway could not be passed on: long-polling clients cannot stay connected.',
    },
    {
      name: 'RoomcastMemoryNearLimit',
      severity: 'ticket',
      hold: '10m',
      expr: `process_resident_memory_bytes${processes}\n  / on (namespace, job, instance) roomcast_memory_limit_bytes > 0.9`,
      summary: '{{ $labels.instance }} is near its memory limit',
      description: '{{ $labels.instance }} uses {{ $value | humanizePercentage }} of the memory it may use; beyond it the kernel kills it.',
      dashboard: 'gateway',
    },
    {
      name: 'RoomcastFilesNearLimit',
      severity: 'ticket',
      hold: '5m',
      expr: `process_open_fds${processes} / process_max_fds${processes} > 0.9`,
      summary: '{{ $labels.instance }} is near its limit of open files',
      description: '{{ $labels.instance }} has {{ $value | humanizePercentage }} of the files open that it may open. Each connection is one; beyond it new clients are not accepted.',
      dashboard: 'gateway',
    },
  ].map((each) => alert(d, each));
}

/** Plain data as a YAML file that begins with this comment. Long expressions stay on one line. */
export const yamlFile = (comment, data) => {
  const document = new Document(data, { aliasDuplicateObjects: false });
  document.commentBefore = comment.replace(/^/gm, ' ');
  return document.toString({ lineWidth: 0 });
};

/** Both files, by name. */
export function rules(factor = 1) {
  const d = scaled(factor);
  const by = 'Written by deploy/prometheus/rules.mjs (make generate-observability); change that file.';
  const group = (name, list) => ({ groups: [{ name, rules: list }] });
  return {
    'slo.yaml': yamlFile(`Shares of failed events by window, for burn rates and dashboards.\n${by}`, group('roomcast-slo', recordings(d))),
    'alerts.yaml': yamlFile(`Alerts; each has a section in docs/OPERATIONS.md.\n${by}`, {
      groups: [
        { name: 'roomcast-burn', rules: burnAlerts(d) },
        { name: 'roomcast-causes', rules: causeAlerts(d) },
      ],
    }),
  };
}

/** Every alert as described, for the tests. */
export const alerts = () => [...burnAlerts(scaled(1)), ...causeAlerts(scaled(1))];

export function writeRules(folder, factor = 1) {
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(rules(factor))) writeFileSync(join(folder, name), text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { factor: { type: 'string', default: '1' }, out: { type: 'string' } } });
  const [over, under = '1'] = values.factor.split('/');
  const factor = Number(over) / Number(under);
  if (!(factor > 0)) throw new Error(`--factor must be a number or a fraction, not ${values.factor}`);
  writeRules(values.out ?? join(HERE, 'rules'), factor);
}
