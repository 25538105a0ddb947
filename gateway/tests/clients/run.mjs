// `make clients`: runs every client of table.mjs against a real cluster, two gateways with a Redis behind haproxy without
// sticky sessions, prints the table and writes it to docs/CLIENTS.md. A client is a program of its own that joins a room
// at each connect and does what an observer, the official client, says there: "say X" sends X, "bytes X" sends X with
// bytes beside it. It prints a JSON line for everything that happens to it. ONLY=text runs the clients whose label has
// it, without writing the page. Exits 1 if a check failed or a client could not be installed.
import { createServer, request } from 'node:http';

import { balancer, cluster, connect, eventually, scope, unique } from '../e2e/harness.mjs';
import { Child } from '../e2e/processes.mjs';
import { artillery } from './artillery.mjs';
import { install } from './install.mjs';
import { writePage } from './page.mjs';
import { CLIENTS, REFUSED, TRANSPORTS } from './table.mjs';

/** Clients that run at once; JVMs are heavy. */
const BATCH = 8;
const LONG = 40_000;

const labelOf = ({ name, version, variant, namespace }, transport) =>
  [name, version, variant, namespace, transport].filter(Boolean).join(' ');

/** A running client and what became of each check: true, or why not. */
class Run {
  results = {};

  constructor(client, transport, address) {
    Object.assign(this, { client, transport, room: unique('clients'), name: unique('client') });
    this.label = labelOf(client, transport);
    const [command, args] = client.command;
    const env = {
      URL: address.url + (client.namespace ?? ''),
      NAME: this.name,
      RESUME: `the secret of ${this.name}`,
      ROOM: this.room,
      ...(TRANSPORTS[transport] && { TRANSPORTS: TRANSPORTS[transport] }),
      ...(client.offline && { OFFLINE: 'written while offline' }),
      ...client.env,
    };
    this.child = new Child(this.label, command, args, { env }).mayEnd();
  }

  /** What it printed so far. */
  get lines() {
    return this.child.lines.flatMap(({ stream, text }) => {
      if (stream !== 'stdout' || !text.startsWith('{')) return [];
      return [JSON.parse(text)];
    });
  }

  /** Waits for a line; the `count`-th of its kind. */
  heard(what, wanted, { count = 1, timeout = LONG } = {}) {
    return eventually(
      () => {
        const found = this.lines.filter(wanted)[count - 1];
        if (!found && !this.child.running) throw Object.assign(new Error(`it ended: ${this.child.ending}`), { hopeless: true });
        return found;
      },
      { timeout, what: () => `${what}; its last lines: ${this.child.lines.slice(-4).map(({ text }) => text.slice(0, 160)).join(' | ')}` },
    );
  }

  /** One check: later ones are not tried where an earlier one failed. */
  async check(name, body) {
    if (this.client.cannot?.[name]) return;
    if (Object.values(this.results).some((result) => result !== true)) return void (this.results[name] ??= 'not tried');
    this.results[name] = await body().then(
      () => true,
      (error) => error.message,
    );
  }

  /** The node that serves it. */
  get node() {
    return this.lines.findLast(({ event }) => event === 'welcome')?.node;
  }

  /** The observer says something, and the client sends what it is asked for. */
  async answers(observer, what, text) {
    await observer.send(this.room, `${what} ${text}`);
    await this.heard(`receives "${what} ${text}"`, (line) => line.event === 'message' && line.text === `${what} ${text}`);
    const ack = await this.heard(`an acknowledgement of ${what}`, (line) => line.event === 'acked' && line.text === text);
    if (ack.status !== 'ok') throw new Error(`was answered ${JSON.stringify(ack)}`);
    await eventually(() => observer.room(this.room).messages.some((message) => message.user === this.name && message.text === text), {
      what: `the others receive ${text}`,
    });
  }

  async first(observers) {
    await this.check('connects', () => this.heard('welcome', ({ event }) => event === 'welcome'));
    await this.check('joins', async () => {
      const { status } = await this.heard('an answer to join', ({ event }) => event === 'joined');
      if (status !== 'ok') throw new Error(`join was answered ${status}`);
    });
    if (this.results.joins !== true) return;
    for (const observer of Object.values(observers)) await observer.join(this.room);
    const other = observers[this.node === 'gw-a' ? 'gw-b' : 'gw-a'];
    // Two of the table's checks in one exchange, told apart by what was missing.
    const outcome = await this.answers(other, 'say', 'hello').then(() => true, (error) => error.message);
    const received = this.lines.some(({ event }) => event === 'message');
    this.results.receives = received || outcome;
    this.results['is acknowledged'] = outcome;
    await this.check('sends bytes', () => this.answers(other, 'bytes', 'with bytes'));
  }

  /** After its gateway was killed. */
  async again(observer, welcomes, joins) {
    await this.check('reconnects', async () => {
      await this.heard('welcome again', ({ event }) => event === 'welcome', { count: welcomes + 1 });
      await this.heard('join again', ({ event, status }) => event === 'joined' && status === 'ok', { count: joins + 1 });
      await this.answers(observer, 'say', 'back');
      if (!this.client.offline) return;
      const sent = await this.heard('what was sent offline is acknowledged', ({ event, text }) => event === 'acked' && text === 'written while offline');
      if (sent.status !== 'ok') throw new Error(`what was sent offline was answered ${JSON.stringify(sent)}`);
      const copies = () => observer.room(this.room).messages.filter(({ text }) => text === 'written while offline').length;
      await eventually(copies, { what: 'the others receive what was sent offline' });
      if (copies() !== 1) throw new Error('what was sent offline is stored twice');
    });
  }

  count(event) {
    return this.lines.filter((line) => line.event === event).length;
  }
}

/** An address that refuses upgrades, as some proxies do, and passes everything else on. */
async function withoutUpgrades(target) {
  const server = createServer((from, to) => {
    const passed = request(`${target.url}${from.url}`, { method: from.method, headers: from.headers }, (answer) => {
      to.writeHead(answer.statusCode, answer.headers);
      answer.pipe(to);
    });
    passed.on('error', () => to.destroy());
    to.on('close', () => passed.destroy());
    from.pipe(passed);
  });
  server.on('upgrade', (_, socket) => socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n'));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope().defer(() => server.close());
  return { url: `http://127.0.0.1:${server.address().port}` };
}

/** The checks of some clients at once: before, and after the gateway of each was killed. */
async function batch(runs, gateways, observers) {
  await Promise.all(runs.map((run) => run.first(observers)));
  for (const gateway of gateways) {
    const here = runs.filter((run) => run.node === gateway.label && run.results['is acknowledged'] === true && !run.results.reconnects);
    if (here.length === 0) continue;
    const before = here.map((run) => [run.count('welcome'), run.count('joined')]);
    await gateway.kill9();
    const [other] = gateways.filter((one) => one !== gateway);
    await Promise.all(here.map((run, i) => run.again(observers[other.label], ...before[i])));
    await Promise.all(here.map((run) => run.child.kill9()));
    await gateway.restart();
    await observers[gateway.label].join('clients');
  }
  await Promise.all(runs.map((run) => run.child.kill9()));
}

/** A client that must be refused is told so, and never connected. */
async function refusal(run) {
  try {
    const told = await run.heard('is told that it is refused', ({ event }) => ['refused', 'disconnect'].includes(event), { timeout: 10_000 });
    const text = JSON.stringify(told.data?.message ?? told.why);
    if (run.count('welcome')) run.results.refused = 'it was connected';
    else if (run.client.why && !run.client.why.test(text)) run.results.refused = `it was told only ${JSON.stringify(told)}`;
    else Object.assign(run, { told: text, results: { refused: true } });
  } catch (error) {
    run.results.refused = error.message;
  }
  await run.child.kill9();
}

function printTable(runs, failures) {
  for (const run of runs) {
    const bad = Object.entries(run.results).filter(([, result]) => result !== true);
    console.log(`${bad.length === 0 ? 'ok    ' : 'FAILED'} ${run.label}`);
    for (const [check, why] of bad) console.log(`         ${check}: ${why}`);
  }
  for (const [part, why] of Object.entries(failures)) console.log(`MISSING ${part}: ${why}`);
}

const only = process.env.ONLY ?? '';
const failures = await install();
const installed = ({ part }) => !(part in failures);
// Pings often, because one of the clients sends by polling only when a poll is answered.
const { gateways } = await cluster({ gateways: 2, presence: 1, args: ['--ping-interval', '5s', '--ping-timeout', '20s'] });
const balanced = await balancer(gateways);
const refusing = await withoutUpgrades(balanced);
const observers = {};
for (const gateway of gateways) {
  observers[gateway.label] = await connect(gateway, { name: unique('observer'), resume: 'a secret', rejoin: true });
}

const start = (client) => (transport) => new Run(client, transport, client.upgradesRefused ? refusing : balanced);
const plans = (clients) =>
  clients.filter(installed).flatMap((client) =>
    (client.transports ?? Object.keys(TRANSPORTS))
      .filter((transport) => labelOf(client, transport).includes(only))
      .map((transport) => ({ client, transport })),
  );
const runs = [];
const waiting = plans(CLIENTS);
while (waiting.length > 0) {
  const some = waiting.splice(0, BATCH).map(({ client, transport }) => start(client)(transport));
  console.log(`==> ${some.map(({ label }) => label).join('; ')}`);
  await batch(some, gateways, observers);
  runs.push(...some);
}
const refused = plans(REFUSED).map(({ client, transport }) => start(client)(transport));
await Promise.all(refused.map(refusal));
if (installed({ part: 'artillery' }) && 'artillery'.includes(only)) runs.push(await artillery(balanced, observers['gw-a']));

printTable([...runs, ...refused], failures);
if (runs.length + refused.length === 0) console.error(`no client is called ${only}`);
const failed = runs.length + refused.length === 0 || [...runs, ...refused].some(({ results }) => Object.values(results).some((result) => result !== true));
if (!only) await writePage({ runs, refused, failures });
await scope().close();
process.exit(failed || Object.keys(failures).length > 0 ? 1 : 0);
