// What the cases of the protocols share: the servers that they run against, and sessions over both transports in both
// versions of Engine.IO, without a client library.
import assert from 'node:assert/strict';

import { RawSocket, cluster, eventually, request, step, story, unique, within } from './harness.mjs';
import { reference } from './reference.mjs';

/** Pings often enough for a test, and waits long enough for a busy machine. */
export const HEARTBEAT = { pingInterval: 600, pingTimeout: 1_000 };
const SEPARATOR = '\x1e';
/** How long a poll or several may take until a packet comes. */
const WAIT = 10_000;

/** A server for most cases, and one that pings often. */
const SERVERS = {
  'socket.io 4.8.4': async (oldClients) => ({
    server: await reference({ oldClients }),
    pinging: await reference({ oldClients, ...HEARTBEAT }),
  }),
  gateway: async () => {
    const alone = { gateways: 1, redis: false };
    const { pingInterval, pingTimeout } = HEARTBEAT;
    const often = ['--ping-interval', `${pingInterval}ms`, '--ping-timeout', `${pingTimeout}ms`];
    const [{ gateways: [server] }, { gateways: [pinging] }] = [await cluster(alone), await cluster({ ...alone, args: often })];
    return { server, pinging };
  },
};

/**
 * Runs cases against the reference and against a gateway. A case is [name, async ({server, pinging, eio}) => …].
 * @param {3 | 4} eio the version of Engine.IO
 */
export function suite(title, eio, cases) {
  for (const [name, start] of Object.entries(SERVERS)) {
    story(`${title}: ${name}`, { timeout: 150_000 }, async () => {
      const servers = await start(eio === 3);
      for (const [what, body] of cases) await step(what, () => body({ ...servers, eio, isReference: name !== 'gateway' }));
    });
  }
}

/** The URL of Socket.IO with these query parameters; those that are undefined are left out. */
export function engineUrl(server, parameters) {
  const entries = Object.entries(parameters).filter(([, value]) => value !== undefined);
  return `${server.url}/socket.io/?${new URLSearchParams(entries)}`;
}

/** Auth for a name of its own: in the query of Engine.IO 3, in the connect packet of Engine.IO 4. */
export const auth = () => ({ username: unique('suite'), resume: 'a secret' });

export const encode = (eio, packets) =>
  eio === 4 ? packets.join(SEPARATOR) : packets.map((packet) => `${packet.length}:${packet}`).join('');

export function decode(eio, body) {
  if (eio === 4) return body.split(SEPARATOR);
  const packets = [];
  for (let at = 0; at < body.length; ) {
    const colon = body.indexOf(':', at);
    const length = Number(body.slice(at, colon));
    assert.ok(colon > at && Number.isInteger(length), `a payload of Engine.IO 3: ${body}`);
    packets.push(body.slice(colon + 1, colon + 1 + length));
    at = colon + 1 + length;
  }
  return packets;
}

/** A long-polling session. */
export class Polling {
  received = [];

  /** Opens it; with `query`, those parameters are sent along. */
  static async open(server, eio = 4, query = {}) {
    const session = new Polling();
    Object.assign(session, { server, eio });
    const { status, body } = await request(engineUrl(server, { EIO: eio, transport: 'polling', ...query }));
    assert.equal(status, 200, body);
    const [open, ...others] = decode(eio, body);
    assert.equal(open[0], '0', body);
    session.handshake = JSON.parse(open.slice(1));
    session.sid = session.handshake.sid;
    session.received.push(...others);
    return session;
  }

  get url() {
    return engineUrl(this.server, { EIO: this.eio, transport: 'polling', sid: this.sid });
  }

  /** One GET, as it is answered. */
  get() {
    return request(this.url);
  }

  /** One POST, as it is answered. */
  post(...packets) {
    return this.postBody(encode(this.eio, packets));
  }

  postBody(body) {
    return request(this.url, { method: 'POST', body, headers: { 'content-type': 'text/plain;charset=UTF-8' } });
  }

  async send(...packets) {
    const { status, body } = await this.post(...packets);
    assert.deepEqual([status, body], [200, 'ok']);
  }

  /** Waits for a packet that matches, polling; answers the pings of Engine.IO 4. */
  until(pattern) {
    return within(WAIT, `a packet like ${pattern}; seen: ${this.received}`, this.#poll(pattern));
  }

  async #poll(pattern) {
    for (const end = performance.now() + WAIT; performance.now() < end; ) {
      const found = this.received.findIndex((packet) => pattern.test(packet));
      if (found >= 0) return this.received.splice(found, 1)[0];
      const { status, body } = await this.get();
      assert.equal(status, 200, `a poll that waits for ${pattern} is answered ${body}; before: ${this.received}`);
      const packets = decode(this.eio, body);
      if (this.eio === 4 && packets.includes('2')) await this.send('3');
      this.received.push(...packets);
    }
    throw new Error('the deadline is over');
  }

  /** Waits until the session is unknown. */
  ended(timeout = 10_000) {
    return eventually(async () => (await this.get()).status === 400, { timeout, every: 50, what: 'the session has ended' });
  }
}

/** A WebSocket session that has received its open packet. */
export async function webSocket(server, eio = 4, { query = {}, ...options } = {}) {
  const socket = new RawSocket(engineUrl(server, { EIO: eio, transport: 'websocket', ...query }).replace(/^http/, 'ws'), options);
  const open = await socket.frame(/^0\{/);
  socket.handshake = JSON.parse(open.slice(1));
  // Like that of long-polling, it consumes the frame.
  socket.until = async (pattern) => {
    const found = await socket.frame(pattern);
    socket.frames.splice(socket.frames.indexOf(found), 1);
    return found;
  };
  return socket;
}

/** Whether an upgrade is refused, or admitted and then closed. */
export async function refusesWebSocket(url) {
  const socket = new RawSocket(url.replace(/^http/, 'ws'));
  await socket.ended();
  return socket.refused ?? 'closed';
}

/** A session over a transport, connected to `/`, with the name of its user. */
export async function connected({ server, eio }, transport) {
  const { username, resume } = auth();
  const query = eio === 3 ? { username, resume } : {};
  const session = transport === 'polling' ? await Polling.open(server, eio, query) : await webSocket(server, eio, { query });
  if (eio === 4) await session.send(`40${JSON.stringify({ username, resume })}`);
  await session.until(eio === 4 ? /^40\{/ : /^40$/);
  await session.until(/^42\["welcome"/);
  return Object.assign(session, { username });
}
