// The cases of Engine.IO's protocol, versions 4 and 3, over long-polling and WebSocket, written from the protocol's
// documents: of a gateway, and of the reference, which proves the cases.
import assert from 'node:assert/strict';

import { RawSocket, eventually, request, unique } from './harness.mjs';
import {
  HEARTBEAT, Polling, auth, connected, decode, encode, engineUrl, refusesWebSocket, suite, webSocket,
} from './protocol.mjs';

const TRANSPORTS = ['polling', 'websocket'];
const BYTES = Buffer.from([1, 2, 3, 4]);

/** An event that is acknowledged with `id`. */
const join = (id, more = '') => `42${id}${JSON.stringify(['join', { room: 'suite' }])}${more}`;
const withBytes = (id) => `451-${id}["join",{"room":"suite","bytes":{"_placeholder":true,"num":0}}]`;

const handshakes = [
  ['long-polling: a session is opened', async ({ server, pinging, eio }) => {
    const { handshake } = await Polling.open(server, eio);
    assert.equal(typeof handshake.sid, 'string');
    assert.deepEqual(handshake.upgrades, ['websocket']);
    assert.deepEqual([handshake.pingInterval, handshake.pingTimeout], [25_000, 20_000]);
    if (eio === 4) assert.ok(Number.isInteger(handshake.maxPayload) && handshake.maxPayload > 0);
    const { handshake: other } = await Polling.open(pinging, eio);
    assert.deepEqual([other.pingInterval, other.pingTimeout], [HEARTBEAT.pingInterval, HEARTBEAT.pingTimeout]);
    assert.notEqual(other.sid, handshake.sid);
  }],
  ['WebSocket: a session is opened, without upgrades', async ({ server, eio }) => {
    const { handshake } = await webSocket(server, eio);
    assert.equal(typeof handshake.sid, 'string');
    assert.deepEqual(handshake.upgrades, []);
    assert.deepEqual([handshake.pingInterval, handshake.pingTimeout], [25_000, 20_000]);
  }],
  ['an unknown transport is refused, as is none', async ({ server, eio }) => {
    for (const transport of [undefined, 'abc']) {
      const url = engineUrl(server, { EIO: eio, transport });
      assert.equal((await request(url)).status, 400, `polling, ${transport}`);
      assert.equal(await refusesWebSocket(url), 400, `WebSocket, ${transport}`);
    }
  }],
  ['a method without a meaning is refused', async ({ server, eio }) => {
    const url = engineUrl(server, { EIO: eio, transport: 'polling' });
    for (const method of ['POST', 'PUT', 'DELETE']) assert.equal((await request(url, { method })).status, 400, method);
  }],
  ['an unknown session is refused with a numeric code', async ({ server, eio }) => {
    const url = engineUrl(server, { EIO: eio, transport: 'polling', sid: 'unknown' });
    for (const options of [{}, { method: 'POST', body: encode(eio, ['4x']) }]) {
      const { status, body } = await request(url, options);
      assert.equal(status, 400);
      assert.deepEqual(JSON.parse(body), { code: 1, message: 'Session ID unknown' });
    }
    assert.equal(await refusesWebSocket(engineUrl(server, { EIO: eio, transport: 'websocket', sid: 'unknown' })), 400);
  }],
  ['no answer may be kept by a cache', async ({ server, eio }) => {
    const session = await Polling.open(server, eio, eio === 3 ? auth() : {});
    const pending = session.get();
    const answers = [await request(engineUrl(server, { EIO: eio, transport: 'polling' })), await session.post('4x'), await pending];
    for (const { headers } of answers) assert.equal(headers['cache-control'], 'no-store');
  }],
];

const versions = [
  ['an unknown version is refused, as is none', async ({ server }) => {
    for (const EIO of [undefined, 'abc']) {
      assert.equal((await request(engineUrl(server, { EIO, transport: 'polling' }))).status, 400, `polling, ${EIO}`);
      await refusesWebSocket(engineUrl(server, { EIO, transport: 'websocket' }));
    }
  }],
];

const messages = [
  ...TRANSPORTS.flatMap((transport) => [
    [`${transport}: a message is received and answered`, async (target) => {
      const session = await connected(target, transport);
      await session.send(join(1));
      await session.until(/^431\[\{"status":"ok"/);
    }],
    [`${transport}: several messages at once are answered in order`, async (target) => {
      const session = await connected(target, transport);
      await session.send(join(1), join(2), join(3));
      for (const id of [1, 2, 3]) await session.until(new RegExp(`^43${id}\\[`));
    }],
    [`${transport}: characters of two, three and four bytes`, async (target) => {
      const session = await connected(target, transport);
      const room = unique('é€𝄞');
      await session.send(`421${JSON.stringify(['join', { room }])}`);
      assert.equal(JSON.parse((await session.until(/^431\[/)).slice(3))[0].room, room);
    }],
    [`${transport}: bytes`, async (target) => {
      const session = await connected(target, transport);
      const base64 = `${target.eio === 4 ? 'b' : 'b4'}${BYTES.toString('base64')}`;
      await session.send(withBytes(1), transport === 'polling' ? base64 : target.eio === 4 ? BYTES : Buffer.concat([Buffer.of(4), BYTES]));
      await session.until(/^431\[\{"status":"ok"/);
      await session.send(join(2));
      await session.until(/^432\[/);
    }],
  ]),
  ['long-polling: an invalid packet ends the session', async (target) => {
    const session = await connected(target, 'polling');
    await session.postBody(target.eio === 4 ? 'abc' : '3:abc');
    await session.ended();
  }],
  ['WebSocket: an invalid packet closes the connection', async (target) => {
    const session = await connected(target, 'websocket');
    session.send('abc');
    await session.ended();
  }],
  ['long-polling: a second poll while one is pending is refused, and ends the session', async (target) => {
    const session = await connected(target, 'polling');
    const polls = await Promise.all([session.get(), session.get()]);
    assert.deepEqual(polls.map(({ status }) => status).sort(), [200, 400]);
    await session.ended();
  }],
  ['long-polling: a packet above maxPayload is refused', async (target) => {
    const session = await connected(target, 'polling');
    const { status } = await session.postBody(encode(target.eio, [`4${'x'.repeat(200_000)}`]));
    assert.equal(status, 413);
  }],
  ['WebSocket: a packet above maxPayload closes the connection', async (target) => {
    const session = await connected(target, 'websocket');
    session.send(`4${'x'.repeat(200_000)}`);
    await session.ended();
  }],
];

const heartbeats4 = [
  ['long-polling: pings come, and pongs keep the session', async ({ pinging }) => {
    const session = await Polling.open(pinging);
    await session.send(`40${JSON.stringify(auth())}`);
    await session.until(/^42\["welcome"/);
    for (let n = 0; n < 3; n++) await session.until(/^2$/);
  }],
  ['WebSocket: pings come, and pongs keep the connection', async ({ pinging }) => {
    const session = await webSocket(pinging);
    session.send(`40${JSON.stringify(auth())}`);
    const pings = () => session.frames.filter((frame) => frame === '2').length;
    await eventually(() => pings() >= 3, { what: 'three pings' });
    assert.equal(session.closed, false);
  }],
  ['long-polling: a session that does not answer a ping ends', async ({ pinging }) => {
    const session = await Polling.open(pinging);
    await session.send(`40${JSON.stringify(auth())}`);
    const start = performance.now();
    while ((await session.get()).status === 200);
    const took = performance.now() - start;
    assert.ok(took > HEARTBEAT.pingInterval + HEARTBEAT.pingTimeout - 200, `it was closed after ${took} ms`);
  }],
  ['WebSocket: a connection that does not answer a ping is closed', async ({ pinging }) => {
    const start = performance.now();
    const session = await webSocket(pinging, 4, { pongs: false });
    session.send(`40${JSON.stringify(auth())}`);
    await session.ended();
    const took = performance.now() - start;
    assert.ok(took > HEARTBEAT.pingInterval + HEARTBEAT.pingTimeout - 200, `it was closed after ${took} ms`);
  }],
];

const heartbeats3 = [
  ['long-polling: a ping of the client is answered', async (target) => {
    const session = await connected(target, 'polling');
    await session.send('2');
    await session.until(/^3$/);
  }],
  ['WebSocket: a ping of the client is answered, with its text', async (target) => {
    const session = await connected(target, 'websocket');
    session.send('2');
    await session.until(/^3$/);
  }],
  ...TRANSPORTS.map((transport) => [`${transport}: a session whose client does not ping ends`, async ({ pinging, eio }) => {
    const session = await connected({ server: pinging, eio }, transport);
    await session.ended();
  }]),
];

const closes = [
  ['long-polling: the client closes the session, and its pending poll is answered', async (target) => {
    const session = await connected(target, 'polling');
    const pending = session.get();
    await session.send('1');
    const { status, body } = await pending;
    // 400 if the close packet overtook the poll, on its other connection.
    if (status !== 400) assert.match(decode(target.eio, body)[0], /^[16]$/);
    await session.ended();
  }],
];

// A close packet on a WebSocket is left out: the protocol has it for long-polling, and the reference ignores it.

/** Begins the upgrade of a polling session: the WebSocket, without a packet yet. */
async function upgrading(target, session) {
  const query = { EIO: target.eio, transport: 'websocket', sid: session.sid };
  const socket = new RawSocket(engineUrl(target.server, query).replace(/^http/, 'ws'));
  await eventually(() => socket.ws.readyState === 1 || socket.closed, { what: 'the WebSocket is open' });
  assert.equal(socket.closed, false, 'the upgrade is admitted');
  return socket;
}

const upgrades = [
  ['a polling session is upgraded, and its pending poll answered', async (target) => {
    const session = await connected(target, 'polling');
    const pending = session.get();
    const socket = await upgrading(target, session);
    socket.send('2probe');
    await socket.frame(/^3probe$/);
    const { status, body } = await pending;
    assert.deepEqual([status, decode(target.eio, body)[0]], [200, '6']);
    socket.send('5', join(1));
    await socket.frame(/^431\[/);
  }],
  ['a poll after the upgrade is refused, and the WebSocket goes on', async (target) => {
    const session = await connected(target, 'polling');
    const socket = await upgrading(target, session);
    socket.send('2probe');
    await socket.frame(/^3probe$/);
    socket.send('5', join(1));
    await socket.frame(/^431\[/);
    assert.equal((await session.get()).status, 400);
    socket.send(join(2));
    await socket.frame(/^432\[/);
  }],
  ['a second WebSocket of an upgraded session is closed, and the first goes on', async (target) => {
    const session = await connected(target, 'polling');
    const socket = await upgrading(target, session);
    socket.send('2probe');
    await socket.frame(/^3probe$/);
    socket.send('5', join(1));
    await socket.frame(/^431\[/);
    await refusesWebSocket(engineUrl(target.server, { EIO: target.eio, transport: 'websocket', sid: session.sid }));
    socket.send(join(2));
    await socket.frame(/^432\[/);
  }],
  ['an upgrade that is given up leaves a polling session that works', async (target) => {
    const session = await connected(target, 'polling');
    const abandoned = await upgrading(target, session);
    abandoned.ws.close();
    await abandoned.ended();
    await session.send(join(1));
    await session.until(/^431\[/);
  }],
  ['an upgrade that is given up after the probe leaves a polling session that works', async (target) => {
    const session = await connected(target, 'polling');
    const abandoned = await upgrading(target, session);
    abandoned.send('2probe');
    await abandoned.frame(/^3probe$/);
    abandoned.ws.close();
    await abandoned.ended();
    await session.send(join(1));
    await session.until(/^431\[/);
  }],
  ['a session of another version is refused', async ({ server, eio }) => {
    const session = await Polling.open(server, eio, eio === 3 ? auth() : {});
    const other = eio === 4 ? 3 : 4;
    for (const transport of TRANSPORTS) {
      const url = engineUrl(server, { EIO: other, transport, sid: session.sid });
      if (transport === 'polling') assert.equal((await request(url)).status, 400);
      else assert.equal(await refusesWebSocket(url), 400);
    }
  }],
];

suite('Engine.IO 4', 4, [...handshakes, ...versions, ...messages, ...heartbeats4, ...closes, ...upgrades]);
suite('Engine.IO 3', 3, [...handshakes, ...messages, ...heartbeats3, ...closes, ...upgrades]);
