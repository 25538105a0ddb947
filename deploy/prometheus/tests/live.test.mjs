// A whole cluster under load, watched by a real Prometheus with the committed rules, sixty times faster:
// every query of every dashboard has an answer, and each thing that dies fires the alert of that cause,
// besides it at most those of the objectives, and they resolve.
//
// ROOMCAST_SCREENSHOTS=1 also draws the dashboards of this run into docs/img (make pictures). ROOMCAST_SLOW_ALERTS=1
// waits at the end until the tickets of the objectives are over too, which look back six hours: six minutes here.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

import { cluster, eventually, quiet, step, story } from '../../../gateway/tests/e2e/harness.mjs';
import { Child } from '../../../gateway/tests/e2e/processes.mjs';
import { DASHBOARDS } from '../../grafana/dashboards.mjs';
import { picture } from '../../grafana/picture.mjs';
import { SLOS } from '../rules.mjs';
import { k6Target } from './k6-series.mjs';
import { Load } from './load.mjs';
import { prometheus } from './prometheus.mjs';
import { queries } from './queries.mjs';

const FACTOR = 1 / 60;
const RATE_INTERVAL = '5s';
const SLOW = Boolean(process.env.ROOMCAST_SLOW_ALERTS);
const PICTURES = Boolean(process.env.ROOMCAST_SCREENSHOTS);
/** A dead node's leftovers are judged in seconds here, as its alerts are. */
const LEASE = ['--lease', '3s'];
/** What only an incident has. */
const OF_INCIDENTS = ['Alerts firing', 'Subscribed again'];

const now = () => Date.now() / 1000;
const isNumber = (text) => Number.isFinite(Number(text));
const host = (url) => new URL(url).host;
const objective = new Set(SLOS.map(({ alert }) => alert));

story('dashboards and alerts', { timeout: SLOW ? 900_000 : 300_000 }, async () => {
  const made = await cluster({ gateways: 3, presence: 2, args: [...LEASE, '--grace', '1s'], presenceArgs: LEASE });
  const { gateways, presence, redis } = made;
  const watching = await prometheus({
    factor: FACTOR,
    targets: {
      'roomcast-gateway': gateways.map(({ adminUrl }) => host(adminUrl)),
      'roomcast-presence': presence.map(({ adminUrl }) => host(adminUrl)),
    },
    more: [await k6Target()],
  });
  const load = await Load.start(made);
  // Until Prometheus has found its targets, which takes it some seconds, it says that there are none.
  const allScraped = async () => (await watching.query('sum(up)'))[0]?.value[1] === '6' && (await watching.alerts()).length === 0;
  await eventually(allScraped, { timeout: 30_000, every: 250, what: 'Prometheus scrapes all' });
  await quiet(1_000);
  const began = now();
  const asked = Object.entries(DASHBOARDS).flatMap(([name, dashboard]) =>
    queries(dashboard, RATE_INTERVAL).map((each) => ({ ...each, what: `${name}: ${each.title}: ${each.expr}` })),
  );

  await step('every query of every dashboard has an answer', async () => {
    const missing = async () => {
      const unanswered = await Promise.all(asked.map(async ({ title, expr, what }) => {
        const found = await watching.query(expr);
        return found.some(({ value }) => isNumber(value[1])) || OF_INCIDENTS.includes(title) ? [] : [what];
      }));
      return unanswered.flat();
    };
    let last = [];
    const none = async () => (last = await missing()).length === 0;
    await eventually(none, { timeout: 40_000, every: 1_000, what: () => `answers to\n${last.join('\n')}` });
  });

  await step('a healthy cluster fires nothing', async () => {
    await quiet(PICTURES ? 25_000 : 5_000); // pictures show a calm time too
    assert.deepEqual(await watching.alerts({ since: began }), []);
  });

  /** What is broken fires its alert; alone, but for those of the objectives; until it is repaired. */
  const broken = (what, cause, instance, breakIt, repair) =>
    step(what, async () => {
      const since = now();
      await breakIt();
      const fires = async () => (await watching.alerts()).some(({ name }) => name === cause);
      await eventually(fires, { timeout: 20_000, every: 250, what: `${cause} fires` });
      const after = now() - since;
      await quiet(8_000); // what would fire with it has had the time
      await repair();
      const repaired = now();
      const over = async () => {
        const left = (await watching.alerts({ pending: true })).filter(({ name, severity }) => !objective.has(name) || severity === 'page');
        return left.length === 0;
      };
      await eventually(over, { timeout: 75_000, every: 250, what: `${cause} and what pages with it resolve` });
      const resolved = now() - repaired;
      await quiet(2_000); // and what comes late
      const fired = await watching.alerts({ since });
      const causes = fired.filter(({ name }) => !objective.has(name));
      assert.deepEqual([...new Set(causes.map(({ name }) => name))], [cause], what);
      if (instance) assert.deepEqual(causes.map((alert) => alert.instance), [instance]);
      const slos = fired.filter(({ name }) => objective.has(name)).map(({ name, burn }) => `${name} ${burn}`);
      console.log(`${what}: ${cause} after ${after.toFixed(1)} s, with [${slos}]; all quiet ${resolved.toFixed(1)} s after it was repaired`);
    });

  await broken('Redis dies', 'RoomcastRedisDown', undefined, () => redis.kill9(), () => redisAgain(redis));
  const [, gateway] = gateways;
  await broken('a gateway dies', 'RoomcastGatewayDown', host(gateway.adminUrl), () => gateway.kill9(), () => gateway.restart());
  const [, service] = presence;
  await broken('a presence service dies', 'RoomcastPresenceDown', host(service.adminUrl), () => service.kill9(), () => service.restart());

  await step('over the whole run every query had data', async () => {
    const end = now();
    const without = await Promise.all(asked.map(async ({ expr, what }) => {
      const found = await watching.range(expr, began, end, 1);
      return found.some(({ values }) => values.some(([, text]) => isNumber(text))) ? [] : [what];
    }));
    assert.deepEqual(without.flat(), []);
    console.log(`${asked.length} queries of ${Object.keys(DASHBOARDS).length} dashboards had data; ${load.sent} messages were sent`);
  });

  if (PICTURES) {
    // Without that of load tests, whose series are made up here.
    const { 'load-test': _, ...real } = DASHBOARDS;
    await step('pictures', () => picture(watching, real, { start: began, end: now(), rateInterval: RATE_INTERVAL }));
  }
  if (SLOW) {
    await step('the tickets resolve', () =>
      eventually(async () => (await watching.alerts()).length === 0, { timeout: 500_000, every: 1_000, what: 'nothing fires' }));
  }
  await load.stop();
});

/** On the same port, with nothing in it. */
async function redisAgain({ port }) {
  const args = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  for (let attempt = 1; ; attempt++) {
    const server = new Child('redis', 'redis-server', args.map(String), { cwd: '/tmp' });
    try {
      return await server.line(/Ready to accept connections/);
    } catch (error) {
      server.diedAlone = false;
      if (attempt === 10) throw error;
      await sleep(200);
    }
  }
}
