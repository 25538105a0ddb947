// Sessions of Engine.IO: whose they are, how long they live, and what of them is bounded. What the protocol suites say
// of both servers is in engineio-protocol.test.mjs and socketio-protocol.test.mjs.
import assert from 'node:assert/strict';
import { createConnection } from 'node:net';

import {
  RawSocket, cluster, connect, eventually, pollingUrl, rawSocket, rawUser, request, sidOf, step, story, unique,
  upgradeUrl,
} from './harness.mjs';
import { eventuallyMeasured, scrape } from './metrics.mjs';
import { scope } from './scope.mjs';

const post = (target, sid, body, options = {}) =>
  request(pollingUrl(target, `&sid=${sid}`), { method: 'POST', body, ...options });
const poll = (target, sid) => request(pollingUrl(target, `&sid=${sid}`));
const open = async (target) => sidOf((await request(pollingUrl(target))).body);

/** A polling session that has entered /native; its packets so far are taken. */
async function polled(target, username) {
  const sid = await open(target);
  await post(target, sid, `40/native,${JSON.stringify({ username })}`);
  let packets = '';
  await eventually(async () => (packets += (await poll(target, sid)).body).includes('welcome'));
  return { sid, id: JSON.parse(packets.match(/40\/native,(\{.*?\})/)[1]).sid };
}

/** A TCP connection that sends `text`: what it received, and when it was closed. */
function tcp(target, text) {
  const found = { received: '', closed: false };
  const socket = createConnection(target.port, '127.0.0.1', () => text && socket.write(text));
  socket.on('data', (data) => (found.received += data)).on('error', () => {}).on('close', () => (found.closed = true));
  scope().defer(() => socket.destroy());
  return Object.assign(found, { socket });
}

story('a session belongs to whoever opened it', { timeout: 60_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1 });
  const room = unique('room');
  const watcher = await connect(a, { name: 'watcher' });
  await watcher.join(room);

  await step('the public id of a socket opens nothing, at any gateway', async () => {
    const { sid, id } = await polled(a, 'victim');
    assert.notEqual(id, sid);
    assert.ok(!sid.includes(id) && !id.includes(sid.slice(0, 8)), 'the ids are unrelated');
    const tag = sid.split('.')[1];
    const say = `42/native,["send_message",{"room":${JSON.stringify(room)},"text":"forged"}]`;
    for (const gateway of [a, b]) {
      for (const known of [id, `${id}.${tag}`]) {
        assert.equal((await post(gateway, known, say)).status, 400);
        assert.equal((await poll(gateway, known)).status, 400);
        const socket = new RawSocket(upgradeUrl(gateway, `&sid=${known}`));
        await socket.ended(3_000);
        assert.equal(socket.refused, 400);
      }
    }
    assert.equal((await post(b, sid, '42/native,1["rooms",{}]')).body, 'ok', 'its owner goes on');
    assert.match((await poll(a, sid)).body, /^43\/native,1\[/);
    assert.deepEqual(watcher.room(room).texts, []);
  });

  await step('each socket has an id of its own', async () => {
    const raw = await rawUser(a, unique('two'));
    raw.send('40{"username":"two more","resume":"x"}');
    const [one, two] = [await raw.frame(/^40\/native,/), await raw.frame(/^40\{/)].map((frame) => JSON.parse(frame.match(/\{.*/)[0]).sid);
    assert.notEqual(one, two);
    assert.ok(!raw.frames[0].includes(one) && !raw.frames[0].includes(two), 'nor is it in the open packet');
  });

  await step('a namespace that was left before its connect packet was answered is not answered late', async () => {
    for (let n = 0; n < 20; n++) {
      const raw = await rawSocket(a);
      const name = unique('hasty');
      raw.sendAtOnce(`40/native,{"username":"${name}-1"}`, '41/native,', `40/native,{"username":"${name}-2"}`, '42/native,1["rooms",{}]');
      await raw.frame(/^43\/native,1\[/);
      // What would be late is behind the answer of another event.
      raw.send('42/native,2["rooms",{}]');
      await raw.frame(/^43\/native,2\[/);
      const last = raw.frames.filter((frame) => /"welcome"/.test(frame)).at(-1);
      assert.match(last, new RegExp(`"user":"${name}-2"`), raw.frames.join(' '));
      raw.ws.terminate();
    }
  });

  await step('no log line has a session id', async () => {
    const sids = await Promise.all([polled(a, unique('logged')), polled(b, unique('logged'))]);
    const lines = [a, b].flatMap((gateway) => gateway.process.lines.map(({ text }) => text));
    for (const { sid } of sids) assert.ok(!lines.some((line) => line.includes(sid.split('.')[0])));
  });
});

story('a session lives as long as its client is heard', { timeout: 60_000 }, async () => {
  const args = ['--ping-interval', '1s', '--ping-timeout', '1s', '--grace', '1s'];
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false, args });
  /** A WebSocket that answers no ping. */
  const quiet = async () => {
    const raw = await rawUser(gateway, unique('quiet'));
    raw.ws.removeAllListeners('message');
    raw.ws.on('message', (data) => raw.frames.push(String(data)));
    return raw;
  };

  await step('any packet is a sign of life, also where pongs are missing', async () => {
    const raw = await quiet();
    const pings = () => raw.frames.filter((frame) => frame === '2').length;
    await eventually(() => (raw.send('42/native,["rooms",{}]'), pings() >= 4), { every: 100, what: 'four pings' });
    assert.ok(!raw.closed);
  });

  await step('silence ends it after an interval and a timeout, and not before, without a close frame', async () => {
    const raw = await quiet();
    const since = performance.now();
    await raw.ended();
    const took = performance.now() - since;
    assert.ok(took > 1_900 && took < 4_000, `${took} ms`);
    assert.equal(raw.closeCode, 1006, 'Java does not notice a close frame');
  });

  await step('a session that enters no namespace is closed, and so is one that left its last', async () => {
    const never = await rawSocket(gateway);
    const left = await rawUser(gateway, unique('left'));
    left.send('41/native,');
    await Promise.all([never.ended(15_000), left.ended(15_000)]);
  });
});

story('WebSockets', { timeout: 60_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false });
  const username = () => unique('cut');
  const handshake = 'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n';
  const masked = (first, text) => Buffer.concat([Buffer.from([first, 0x80 | text.length, 0, 0, 0, 0]), text]);

  await step('a packet may be cut anywhere into frames, with pings between them', async () => {
    const connect = () => Buffer.from(`40/native,{"username":"${username()}é🦀"}`);
    for (let cut = 1; cut < connect().length; cut++) {
      const packet = connect();
      const frames = [masked(0x01, packet.subarray(0, cut)), masked(0x89, Buffer.from('p')), masked(0x80, packet.subarray(cut))];
      const join = masked(0x81, Buffer.from('42/native,7["join",{"room":"cuts"}]'));
      const raw = tcp(gateway, Buffer.concat([Buffer.from(handshake), ...frames, join]));
      await eventually(() => /43\/native,7\[\{"status":"ok"/.test(raw.received), { what: () => `cut at ${cut}: ${raw.received}` });
      raw.socket.destroy();
    }
  });

  for (const [what, frame, status] of [
    ['an unmasked frame', Buffer.concat([Buffer.from([0x81, 3]), Buffer.from('40/')]), 1002],
    ['a frame with a reserved bit', masked(0xc1, Buffer.from('x')), 1002],
    ['a continuation of nothing', masked(0x80, Buffer.from('x')), 1002],
    ['text that is not UTF-8', masked(0x81, Buffer.from([0xff])), 1007],
    ['a message that is announced with a gigabyte', Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0]), 1009],
    ['a message of 300 frames', Buffer.concat([masked(0x01, Buffer.from('4')), ...Array(300).fill(masked(0x00, Buffer.from('x')))]), 1008],
    ['a close with a status', masked(0x88, Buffer.from([0x0b, 0xb8])), 3000],
  ]) {
    await step(`${what} is closed with ${status}`, async () => {
      const raw = tcp(gateway);
      const bytes = [];
      raw.socket.on('data', (data) => bytes.push(data));
      raw.socket.write(Buffer.concat([Buffer.from(handshake), frame]));
      await eventually(() => raw.closed, { what: 'it is closed' });
      const end = Buffer.concat(bytes).subarray(-4);
      assert.deepEqual([...end], [0x88, 2, status >> 8, status & 255]);
    });
  }

  await step('a stop ends connections without a close frame', async () => {
    const raw = await rawUser(gateway, username());
    const stopped = gateway.stop();
    await raw.ended();
    await stopped;
    assert.equal(raw.closeCode, 1006, 'Java does not notice a close frame');
  });
});

story('polls', { timeout: 60_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false });
  const { sid } = await polled(gateway, 'poller');

  await step('an answer has at most 16 packets', async () => {
    const events = Array.from({ length: 40 }, (_, n) => `42/native,${n}["rooms",{}]`);
    await post(gateway, sid, events.join('\x1e'));
    const sizes = [];
    const acks = [];
    while (acks.length < 40) {
      const packets = (await poll(gateway, sid)).body.split('\x1e');
      sizes.push(packets.length);
      acks.push(...packets.map((packet) => Number(packet.match(/^43\/native,(\d+)/)[1])));
    }
    assert.ok(Math.max(...sizes) <= 16, `${sizes}`);
    assert.deepEqual(acks, Array.from({ length: 40 }, (_, n) => n), 'in order');
  });

  await step('base64 with line feeds, as Java writes it', async () => {
    const event = '451-/native,9["join",{"room":"r","new":{"_placeholder":true,"num":0}}]';
    assert.equal((await post(gateway, sid, `${event}\x1ebAQID\nBA==\n`)).status, 200);
    assert.match((await poll(gateway, sid)).body, /43\/native,9\[\{"status":"ok"/);
  });

  await step('a stop does not wait for an upgrade that is not completed', async () => {
    const one = await open(gateway);
    const socket = new RawSocket(upgradeUrl(gateway, `&sid=${one}`));
    socket.ws.on('open', () => socket.send('2probe'));
    await socket.frame(/^3probe$/);
    await gateway.stop();
    await socket.ended(1_000);
    await gateway.restart();
  });

  await step('JSONP is refused with an answer that says so', async () => {
    const { status, body } = await request(pollingUrl(gateway, '&j=0'));
    assert.equal(status, 400);
    assert.match(JSON.parse(body).message, /JSONP/);
  });
});

story('what a request may take is bounded', { timeout: 90_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false, files: 228, args: ['--keep-alive', '2s'] });
  const head = (length, sid = 'unknown') =>
    `POST /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`;

  await step('a body that does not come is answered in time, whether or not there is the session', async () => {
    const { sid } = await polled(gateway, unique('slow'));
    const [known, unknown] = [tcp(gateway, `${head(100, sid)}4`), tcp(gateway, `${head(100)}4`)];
    await eventually(() => known.closed && unknown.closed, { timeout: 15_000, what: 'both are closed' });
    assert.match(known.received, /^HTTP\/1\.1 408 /);
    assert.match(unknown.received, /^HTTP\/1\.1 400 /);
  });

  await step('a body that is refused is read first, and its connection goes on', async () => {
    const large = 'x'.repeat(1024 * 1024);
    const { sid } = await polled(gateway, unique('large'));
    const raw = tcp(gateway, `${head(large.length, sid)}${large}${head(large.length)}${large}`
      + `POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: ${large.length}\r\n\r\n${large}`
      + `POST /socket.io/ HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\nContent-Length: ${large.length}\r\n\r\n${large}`
      + `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${large.length}\r\n\r\n${large}`
      + `OPTIONS /socket.io/ HTTP/1.1\r\nHost: x\r\nContent-Length: ${large.length}\r\n\r\n${large}`
      + `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nContent-Length: ${large.length}\r\n\r\n${large}`
      + 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await eventually(() => /<\/html>/.test(raw.received), { what: () => `all answers: ${raw.received.slice(0, 600)}` });
    assert.deepEqual(raw.received.match(/HTTP\/1\.1 \d+/g).map((line) => Number(line.slice(9))), [413, 400, 404, 403, 405, 204, 400, 200]);
    assert.equal((await post(gateway, sid, '42/native,1["rooms",{}]')).body, 'ok', 'the session is kept');
  });

  await step('an idle connection is kept for --keep-alive', async () => {
    const raw = tcp(gateway, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await eventually(() => /<\/html>/.test(raw.received), { what: 'the answer' });
    const since = performance.now();
    await eventually(() => raw.closed, { timeout: 10_000, what: 'it is closed' });
    const took = performance.now() - since;
    assert.ok(took > 1_500, `closed after ${took} ms`);
  });

  await step('clients cannot take the files that operators need, and newcomers come in when others go', async () => {
    // 228 files less 128 are 100 connections.
    const idle = Array.from({ length: 100 }, () => new RawSocket(upgradeUrl(gateway)));
    await Promise.all(idle.map((raw) => raw.frame(/^0\{/)));
    const late = new RawSocket(upgradeUrl(gateway));
    await scrape(gateway);
    assert.equal((await request(`${gateway.adminUrl}/livez`)).status, 200);
    assert.deepEqual(late.frames, [], 'it waits');
    // None of them has sent a connect packet: their files are free at once.
    idle.forEach((raw) => raw.ws.terminate());
    await late.frame(/^0\{/, 3_000);
    await eventuallyMeasured(gateway, 'the files are free', (of) => of('process_open_fds') < 60, 3_000);
  });
});
