// `make proxies`: six reverse proxies with the configurations of docs/OPERATIONS.md, each in front of two gateways of its
// own with a Redis. Three official clients (polling, WebSocket, and the default with its upgrade) chat through it, say
// nothing for longer than its timeouts, are there when it is reloaded with a changed configuration and when either
// gateway is killed; and Chromium, over TLS and HTTP/2, with the page of the gateway. Prints the table. ONLY=nginx runs
// one, IDLE=65 says how many seconds are idle. Exits 1 if a cell fails or a proxy is missing.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { launchBrowser } from '../e2e/browser.mjs';
import { cluster, connect, eventually, scope, unique } from '../e2e/harness.mjs';
import { pollingUrl, request } from '../e2e/raw.mjs';
import { PROXIES, find, run, startProxy, versionOf } from './proxies.mjs';

const IDLE = Number(process.env.IDLE ?? 65) * 1_000;
/** How long clients may take until they are back. */
const BACK = 20_000;
const TRANSPORTS = { WebSocket: ['websocket'], polling: ['polling'], default: ['polling', 'websocket'] };
const CELLS = [...Object.keys(TRANSPORTS), 'large POSTs', 'Chromium, HTTP/2', 'idle', 'reload', 'killed', 'the other'];

/** How often a client was connected. */
const welcomes = (client) => client.events.filter(({ event }) => event === 'welcome').length;

/** A proxy under test, and what became of each cell: {ok, text}. */
class Test {
  cells = {};

  constructor(name) {
    this.name = name;
  }

  /** Runs a cell; its text is what `body` returns, or why it failed. */
  async cell(name, body) {
    try {
      this.cells[name] = { ok: true, text: (await body()) ?? 'ok' };
    } catch (error) {
      this.cells[name] = { ok: false, text: 'FAILED', why: error.message };
    }
  }

  async start(folder, program) {
    this.version = await versionOf(this.name, program);
    this.room = unique('proxies');
    ({ gateways: this.gateways } = await cluster({ gateways: 2, presence: 1 }));
    this.proxy = await startProxy(this.name, { folder: join(folder, this.name), certificates: folder, gateways: this.gateways, program });
  }

  /** The clients enter the room, one transport after the other, and hear each other. */
  async connect() {
    this.clients = {};
    for (const [name, transports] of Object.entries(TRANSPORTS)) {
      await this.cell(name, async () => {
        const client = await connect(this.proxy, { transports, rejoin: true, resume: 'a secret', reconnectionDelayMax: 2_000 });
        this.clients[name] = client;
        await client.join(this.room);
        if (name !== 'default') return;
        await eventually(() => client.socket.io.engine.transport.name === 'websocket', { what: 'the upgrade' });
        return 'ok, upgraded';
      });
    }
    await this.chat();
  }

  /** Everyone says something that everyone receives. */
  async chat() {
    for (const client of Object.values(this.clients)) {
      const { offset } = await client.send(this.room, `from ${client.name}`);
      await Promise.all(Object.values(this.clients).map((other) => other.has(this.room, offset, BACK)));
    }
  }

  /** What happened to the connections since `ids`: kept, or how long it took until all were back and heard each other. */
  async outcome(ids, start) {
    for (const [name, client] of Object.entries(this.clients)) {
      await eventually(() => client.socket.connected, { timeout: BACK, what: `${name} is connected` });
    }
    await eventually(() => this.chat().then(() => true), { timeout: BACK, what: 'everyone hears everyone' });
    const lost = Object.entries(this.clients).filter(([name, client]) => welcomes(client) !== ids[name]);
    if (lost.length === 0) return 'kept';
    return `${lost.map(([name]) => name).join(', ')} cut, back in ${((performance.now() - start) / 1_000).toFixed(1)} s`;
  }

  ids() {
    return Object.fromEntries(Object.entries(this.clients).map(([name, client]) => [name, welcomes(client)]));
  }

  /** Twenty oversized POSTs: each is answered, and one client's mistake costs nobody else their requests. */
  largePosts() {
    return this.cell('large POSTs', async () => {
      const body = 'x'.repeat(900_000);
      const statuses = {};
      for (let n = 0; n < 20; n++) {
        const { status } = await request(pollingUrl(this.proxy, '&sid=unknown'), { method: 'POST', body });
        if (![400, 413].includes(status)) throw new Error(`one is answered ${status}`);
        statuses[status] = (statuses[status] ?? 0) + 1;
        const { status: handshake } = await request(pollingUrl(this.proxy));
        if (handshake !== 200) throw new Error(`a handshake after it is answered ${handshake}`);
      }
      return Object.entries(statuses).map(([status, times]) => `${status} ×${times}`).join(', ');
    });
  }

  /** The gateway's page over TLS, and the client that the gateway serves in it, over each transport. */
  browse() {
    if (!this.proxy.tlsUrl) return void (this.cells['Chromium, HTTP/2'] = { ok: true, text: 'no TLS' });
    return this.cell('Chromium, HTTP/2', async () => {
      const browser = await launchBrowser();
      try {
        const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
        // Over HTTP/2 (RFC 8441) the handshake of a WebSocket is answered 200, over HTTP/1.1 101.
        const [devtools, handshakes] = [await page.context().newCDPSession(page), []];
        await devtools.send('Network.enable');
        devtools.on('Network.webSocketHandshakeResponseReceived', ({ response }) => handshakes.push(response.status));
        await page.goto(`${this.proxy.tlsUrl}/`);
        await page.addScriptTag({ url: '/socket.io/socket.io.min.js' });
        const protocol = await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol);
        for (const [name, transports] of Object.entries(TRANSPORTS)) {
          const answer = await page.evaluate(
            ([transports, username]) =>
              new Promise((resolve) => {
                const socket = globalThis.io({ transports, forceNew: true, auth: { username, resume: 'a secret' } });
                const end = (what) => (socket.disconnect(), resolve(what));
                socket.on('connect_error', (error) => end(error.message));
                socket.on('welcome', () => socket.emit('join', { room: 'browser' }, ({ status }) => end(status)));
                setTimeout(() => end('no answer'), 10_000);
              }),
            [transports, unique('browser')],
          );
          if (answer !== 'ok') throw new Error(`${name}: ${answer}`);
        }
        if (protocol !== 'h2') throw new Error(`the page came over ${protocol}`);
        return `ok, WebSocket over ${handshakes.includes(200) ? 'HTTP/2' : 'HTTP/1.1'}`;
      } finally {
        await browser.close();
      }
    });
  }

  async reload() {
    await this.cell('reload', async () => {
      const [ids, start] = [this.ids(), performance.now()];
      await this.proxy.reload();
      // New connections see the end of the reload; those of before are either kept or not then.
      await eventually(async () => (await request(pollingUrl(this.proxy))).status === 200, { timeout: BACK, what: 'a handshake after the reload' });
      const text = await this.outcome(ids, start);
      if (text !== 'kept' && !PROXIES[this.name].reloadCuts) throw new Error(text);
      return text;
    });
  }

  /** A gateway dies and is replaced after three seconds; then the other. */
  async kill() {
    for (const [cell, gateway] of [['killed', this.gateways[0]], ['the other', this.gateways[1]]]) {
      await this.cell(cell, async () => {
        const [ids, start] = [this.ids(), performance.now()];
        const [, text] = await Promise.all([
          (async () => {
            await gateway.kill9();
            await sleep(3_000);
            await gateway.restart();
          })(),
          this.outcome(ids, start),
        ]);
        return text === 'kept' ? 'nobody was on it' : text.replace(/^.* back in/, 'back in');
      });
    }
  }
}

const only = process.env.ONLY ?? '';
const folder = await mkdtemp(join(tmpdir(), 'roomcast-proxies-'));
scope().defer(() => rm(folder, { recursive: true, force: true }));
const [key, certificate, both] = ['key', 'crt', 'pem'].map((ending) => join(folder, `chat.${ending}`));
const selfSigned = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'];
await run('openssl', [...selfSigned, '-keyout', key, '-out', certificate]);
await writeFile(both, (await readFile(certificate, 'utf8')) + (await readFile(key, 'utf8')));

const [tests, missing] = [[], []];
for (const name of Object.keys(PROXIES).filter((name) => name.includes(only))) {
  const program = find(PROXIES[name].command, (process.env.PROXY_PATH ?? '').split(':').filter(Boolean));
  if (!program) {
    missing.push(name);
    continue;
  }
  const test = new Test(name);
  tests.push(test);
  try {
    await test.start(folder, program);
  } catch (error) {
    test.broken = error.message;
    continue;
  }
  console.log(`==> ${name}: transports, large POSTs, Chromium`);
  await test.connect();
  await test.largePosts();
  await test.browse();
}
const working = tests.filter(({ broken }) => !broken);
console.log(`==> ${IDLE / 1_000} s without a word`);
const before = working.map((test) => test.ids());
const start = performance.now();
await sleep(IDLE);
await Promise.all(working.map((test, i) => test.cell('idle', async () => {
  const text = await test.outcome(before[i], start);
  if (text !== 'kept') throw new Error(text);
  return text;
})));
for (const test of working) {
  console.log(`==> ${test.name}: reload, a killed gateway, the other one`);
  await test.reload();
  await test.kill();
}

const width = Math.max(...CELLS.map((name) => name.length));
for (const { name, version, cells, broken } of tests) {
  console.log(`\n${name} ${version ?? ''}`);
  if (broken) console.log(`  FAILED: ${broken}`);
  for (const cell of CELLS.filter((cell) => cells[cell])) {
    const { text, why } = cells[cell];
    console.log(`  ${cell.padEnd(width)}  ${text}${why ? `: ${why}` : ''}`);
  }
}
for (const name of missing) console.log(`\n${name}\n  MISSING: it could not be installed`);
if (tests.length + missing.length === 0) console.error(`no proxy is called ${only}`);
const failed = tests.length + missing.length === 0 || tests.some(({ broken, cells }) => broken || Object.values(cells).some(({ ok }) => !ok));
await scope().close();
process.exit(failed || missing.length > 0 ? 1 : 0);
