// What needs no server: packets, base64, the checker of offsets, names, settings, the report.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './bundle.mjs';

const packets = await load('lib/socketio/packets.ts');
const { decodeBase64, encodeBase64 } = await load('lib/socketio/base64.ts');
const { RoomChecker } = await load('lib/checker.ts');
const names = await load('lib/names.ts');
const { parseDuration, readSettings } = await load('lib/settings.ts');
const { classicRoom, userWhoLeft } = await load('lib/classic.ts');
const { roomsOf } = await load('lib/session.ts');
const { makeReport, summarize } = await load('lib/report.ts');
const { figure } = await load('lib/figures.ts');

const bytes = (...values) => new Uint8Array(values).buffer;

test('packets are encoded as the protocol has them', () => {
  const text = (...args) => packets.encode(...args).text;
  assert.equal(text(packets.CONNECT, '/'), '0');
  assert.equal(text(packets.CONNECT, '/native', { username: 'ann' }), '0/native,{"username":"ann"}');
  assert.equal(text(packets.EVENT, '/', ['hi', 1]), '2["hi",1]');
  assert.equal(text(packets.EVENT, '/native', ['hi'], 12), '2/native,12["hi"]');
  assert.equal(text(packets.ACK, '/native', [{ status: 'ok' }], 0), '3/native,0[{"status":"ok"}]');
  assert.equal(text(packets.DISCONNECT, '/native'), '1/native,');
});

test('attachments leave placeholders, and return in their places', () => {
  const data = ['image', { room: 'r', image: bytes(1, 2, 3), more: [new Uint8Array([9, 4, 5]).subarray(1)] }];
  const { text, attachments } = packets.encode(packets.EVENT, '/native', data, 3);
  assert.equal(text, '52-/native,3["image",{"room":"r","image":{"_placeholder":true,"num":0},"more":[{"_placeholder":true,"num":1}]}]');
  assert.deepEqual(attachments.map((one) => [...new Uint8Array(one)]), [[1, 2, 3], [4, 5]]);
  const packet = packets.decode(text);
  assert.deepEqual([packet.type, packet.namespace, packet.id, packet.attachments], [packets.EVENT, '/native', 3, 2]);
  const [, payload] = packets.insertAttachments(packet.data, attachments);
  assert.deepEqual([payload.room, [...new Uint8Array(payload.image)], [...new Uint8Array(payload.more[0])]], ['r', [1, 2, 3], [4, 5]]);
});

test('packets are decoded, and what is none is refused', () => {
  const { decode } = packets;
  assert.deepEqual(decode('2["hi",1]'), { type: 2, namespace: '/', id: undefined, data: ['hi', 1], attachments: 0 });
  assert.deepEqual(decode('3/native,120[]'), { type: 3, namespace: '/native', id: 120, data: [], attachments: 0 });
  assert.deepEqual(decode('1/native,'), { type: 1, namespace: '/native', id: undefined, data: undefined, attachments: 0 });
  assert.deepEqual(decode('0/a'), { type: 0, namespace: '/a', id: undefined, data: undefined, attachments: 0 });
  assert.deepEqual(decode('61-7[{"_placeholder":true,"num":0}]').type, packets.ACK);
  assert.equal(decode('50-["x"]').attachments, 0);
  for (const bad of ['', '9["x"]', 'x', '5["x"]', '5-["x"]', '2{']) assert.throws(() => decode(bad), undefined, bad);
});

test('base64 is that of everybody', () => {
  for (let length = 0; length < 20; length++) {
    const some = Uint8Array.from({ length }, (_, i) => (i * 73 + 200) % 256);
    assert.equal(encodeBase64(some), Buffer.from(some).toString('base64'));
    assert.deepEqual(new Uint8Array(decodeBase64(Buffer.from(some).toString('base64'))), some);
  }
  assert.deepEqual(new Uint8Array(decodeBase64('AQ\nID')), new Uint8Array([1, 2, 3]));
});

/** A checker that joined at this offset, and what it found. */
function checker(offset) {
  const found = { missing: 0, repeated: 0, misordered: 0, resyncs: 0, recoveries: 0 };
  const add = (name) => (count) => (found[name] += count);
  const made = new RoomChecker(Object.fromEntries(Object.keys(found).map((name) => [name, add(name)])));
  if (offset !== undefined) made.joined({ epoch: 'e', offset });
  const receive = (...offsets) => offsets.forEach((one) => made.message({ epoch: 'e', offset: one }, 0));
  return { made, found, receive };
}

const nothing = { missing: 0, repeated: 0, misordered: 0, resyncs: 0, recoveries: 0 };

test('what comes once and in order is right', () => {
  const { made, found, receive } = checker(5);
  receive(6, 7, 8);
  assert.ok(made.settled(8, 0));
  assert.ok(!made.settled(9, 0));
  made.finish(8);
  assert.deepEqual(found, nothing);
});

test('a hole is missing, wherever it is', () => {
  const middle = checker(5);
  middle.receive(6, 9, 10);
  assert.ok(!middle.made.settled(10, 2_900));
  assert.ok(middle.made.settled(10, 3_000), 'nobody waits for what is known to be missing');
  middle.made.finish(10);
  assert.deepEqual(middle.found, { ...nothing, missing: 2 });
  const first = checker(5);
  first.receive(7);
  first.made.finish(7);
  assert.deepEqual(first.found, { ...nothing, missing: 1 });
  const last = checker(5);
  last.receive(6);
  last.made.finish(8);
  assert.deepEqual(last.found, { ...nothing, missing: 2 });
  const all = checker(5);
  all.made.finish(8);
  assert.deepEqual(all.found, { ...nothing, missing: 3 });
});

test('a hole is reported while the run goes on', () => {
  const { made, found } = checker(1);
  made.message({ epoch: 'e', offset: 3 }, 1_000);
  made.message({ epoch: 'e', offset: 4 }, 3_900);
  assert.equal(found.missing, 0);
  made.message({ epoch: 'e', offset: 5 }, 4_100);
  assert.equal(found.missing, 1);
  made.finish(5);
  assert.equal(found.missing, 1);
});

test('a repeated message and a late one are counted as what they are', () => {
  const { made, found, receive } = checker(0);
  receive(1, 2, 2, 4, 3, 1);
  made.finish(4);
  assert.deepEqual(found, { ...nothing, repeated: 2, misordered: 1 });
});

test('a join with since brings exactly what was missed', () => {
  const answer = (offset, ...offsets) => ({ epoch: 'e', offset, recovered: true, messages: offsets.map((one) => ({ epoch: 'e', offset: one })) });
  const right = checker(5);
  right.receive(6);
  assert.deepEqual(right.made.since, { epoch: 'e', offset: 6 });
  right.made.rejoined(answer(8, 7, 8), 0);
  right.receive(9);
  right.made.finish(9);
  assert.deepEqual(right.found, { ...nothing, recoveries: 1 });
  const hole = checker(5);
  hole.made.rejoined(answer(8, 6, 8), 0);
  hole.made.finish(8);
  assert.deepEqual(hole.found, { ...nothing, recoveries: 1, missing: 1 });
  const short = checker(5);
  short.made.rejoined(answer(8, 6, 7), 0);
  short.receive(9);
  short.made.finish(9);
  assert.deepEqual(short.found, { ...nothing, recoveries: 1, missing: 1 });
  const twice = checker(5);
  twice.receive(6);
  twice.made.rejoined(answer(7, 6, 7), 0);
  assert.deepEqual(twice.found, { ...nothing, recoveries: 1, repeated: 1 });
});

test('what could not be recovered is counted by itself', () => {
  const { made, found, receive } = checker(5);
  receive(6, 8);
  made.rejoined({ epoch: 'f', offset: 3, recovered: false, messages: [] }, 0);
  made.message({ epoch: 'f', offset: 4 }, 0);
  made.finish(4);
  assert.deepEqual(found, { ...nothing, missing: 1, resyncs: 1 });
  const live = checker(5);
  live.made.resync({ epoch: 'g' });
  live.made.message({ epoch: 'g', offset: 40 }, 0);
  live.made.finish(40);
  assert.deepEqual(live.found, { ...nothing, resyncs: 1 });
  const unannounced = checker(5);
  unannounced.made.message({ epoch: 'h', offset: 6 }, 0);
  assert.deepEqual(unannounced.found, { ...nothing, misordered: 1 });
});

test('own messages that are not sent back leave no hole', () => {
  const { made, found, receive } = checker(5);
  const own = (offset) => made.ownMessage({ epoch: 'e', offset });
  own(6);
  receive(7);
  receive(9);
  own(8);
  own(10);
  own(12);
  receive(11);
  assert.ok(made.settled(12, 0));
  made.finish(12);
  assert.deepEqual(found, nothing);
  const echoed = checker(undefined);
  echoed.made.acknowledged({ epoch: 'e', offset: 9 });
  echoed.made.finish(9);
  assert.deepEqual(echoed.found, { ...nothing, missing: 1 }, 'it was promised and did not come');
});

test('names say until when their users stay', () => {
  const until = 1_790_000_000_000;
  const name = names.userName('k6abc', '1.2.0', until);
  assert.equal(names.staysUntil('k6abc', name), until);
  assert.equal(names.staysUntil('k6abc', name.toUpperCase()), until);
  assert.equal(names.staysUntil('other', name), undefined);
  assert.ok(names.leavesTooEarly('k6abc', name, until - 1_000));
  assert.ok(!names.leavesTooEarly('k6abc', name, until - 100));
  assert.ok(!names.leavesTooEarly('k6abc', 'ann', 0), 'a user of somebody else');
  assert.ok(name.length <= 64);
});

test('leaves are read as each classic chat announces them', () => {
  for (const [dialect, payload, user] of [
    ['flocker', { username: 'System', msg: 'k6a-1-x left r.', room: 'r' }, 'k6a-1-x'],
    ['flocker', { username: 'System', msg: 'k6a-1-x joined r.', room: 'r' }, undefined],
    ['flocker', { username: 'ann', msg: 'bob left r.', room: 'r' }, undefined],
    ['flask-chat-app', { username: 'k6a-1-x', room: 'r' }, 'k6a-1-x'],
    ['private-rooms', { type: 'deluser', message: 'User K6A-1-X left room R' }, 'K6A-1-X'],
    ['private-rooms', { type: 'newuser', message: 'New User K6A-1-X joined room R' }, undefined],
    ['private-rooms', { type: 'chat', from: 'ANN', message: 'User BOB left room R' }, undefined],
    ['ribbit', {}, undefined],
  ]) {
    assert.equal(userWhoLeft(dialect, payload), user, JSON.stringify([dialect, payload]));
  }
  assert.deepEqual(['abidev', 'private-rooms', 'ribbit'].map((dialect) => classicRoom(dialect, 'r-1')), ['general', 'R-1', 'r-1']);
});

test('members are spread over rooms', () => {
  assert.deepEqual(roomsOf('r', 3, 1, 4), ['r-room-1']);
  assert.deepEqual(roomsOf('r', 4, 2, 1), ['r-room-1', 'r-room-3']);
  assert.deepEqual(roomsOf('r', 1, 2, 7), ['r-room-0']);
});

const DEFAULTS = { rooms: 2, vus: 3, sockets: 4, rate: 5, duration: '1m' };

test('settings are read from the environment', () => {
  const none = readSettings({}, DEFAULTS);
  assert.deepEqual([none.baseUrl, none.rooms, none.vus, none.sockets, none.rate, none.duration], ['http://127.0.0.1:8080', 2, 3, 4, 5, 60_000]);
  const env = { BASE_URL: 'https://chat.example.org/', ROOMS: '7', RATE: '0.5', DURATION: '1h30m', DIALECT: 'ribbit', OUT: 'results/' };
  const given = readSettings(env, DEFAULTS);
  assert.deepEqual([given.baseUrl, given.rooms, given.rate, given.duration, given.dialects, given.out], ['https://chat.example.org', 7, 0.5, 5_400_000, ['ribbit'], 'results']);
  assert.equal(readSettings({ DIALECT: 'all' }, DEFAULTS).dialects.length, 5);
  assert.equal(parseDuration('500ms'), 500);
  assert.equal(parseDuration('1.5m'), 90_000);
  for (const bad of ['', '10', 's', '10 s', '-5s', '5d']) assert.equal(parseDuration(bad), undefined, bad);
});

test('a setting out of range is one clear line', () => {
  for (const [env, message] of [
    [{ VUS: '0' }, 'VUS=0: expected a whole number from 1 to 100000'],
    [{ VUS: '1.5' }, 'VUS=1.5: expected a whole number from 1 to 100000'],
    [{ ROOMS: 'many' }, 'ROOMS=many: expected a whole number from 1 to 1000000'],
    [{ RATE: '-1' }, 'RATE=-1: expected a number from 0.01 to 1000000'],
    [{ DURATION: '1s' }, 'DURATION=1s: expected a duration from 3s to 24h, such as 90s or 1h30m'],
    [{ BASE_URL: 'chat.example.org' }, 'BASE_URL=chat.example.org: expected http:// or https://, a host, and no path'],
    [{ BASE_URL: 'http://h/path' }, 'BASE_URL=http://h/path: expected http:// or https://, a host, and no path'],
    [{ DIALECT: 'irc' }, 'DIALECT=irc: expected all, flocker, abidev, flask-chat-app, ribbit, private-rooms'],
    [{ RUN: 'My Run' }, 'RUN: expected at most 16 lower-case letters and digits'],
    [{ TOKEN: 'a\nb' }, 'TOKEN: expected at most 4096 printable characters of ASCII'],
    [{ VUS: '1000', SOCKETS: '10000' }, 'VUS=1000 times SOCKETS=10000: expected at most 1000000 connections'],
  ]) {
    assert.throws(() => readSettings(env, DEFAULTS), { message });
  }
});

test('the report says whether the thresholds hold, and shows nothing as HTML', () => {
  const description = { name: 'chat', models: 'People <b>talk</b>.', rate: 'messages a second' };
  const settings = readSettings({ TOKEN: 'secret-token' }, DEFAULTS);
  const trend = { avg: 2, min: 1, med: 2, 'p(90)': 3, 'p(95)': 4.5, 'p(99)': 5, max: 1_234 };
  const data = (ok) => ({
    state: { testRunDurationMs: 61_234 },
    metrics: {
      vus: { type: 'gauge', contains: 'default', values: { value: 3, min: 1, max: 3 } },
      sio_ack_duration: { type: 'trend', contains: 'time', values: trend, thresholds: { 'p(95)<1000': { ok: true } } },
      roomcast_missing: { type: 'counter', contains: 'default', values: { count: 7, rate: 0.1 }, thresholds: { 'count==0': { ok } } },
    },
  });
  const failed = makeReport(description, settings, data(false));
  assert.equal(failed.passed, false);
  assert.deepEqual(failed.metrics.map(({ metric }) => metric), ['roomcast_missing', 'sio_ack_duration', 'vus']);
  assert.equal(makeReport(description, settings, data(true)).passed, true);
  assert.equal(makeReport(description, settings, { metrics: {} }).passed, false, 'nothing was held against anything');
  const written = summarize(description, { ...settings, out: 'there' }, data(false));
  assert.deepEqual(Object.keys(written), ['stdout', 'there/summary.json', 'there/report.html']);
  assert.match(written.stdout, /chat: FAILED after 61\.2 s, 1 of 2 thresholds hold\n {2}✗ roomcast_missing: count==0/);
  assert.match(written.stdout, /sio_ack_duration\.*: med 2 ms {2}p\(95\) 4\.50 ms {2}p\(99\) 5 ms {2}max 1,234 ms/);
  const page = written['there/report.html'];
  assert.match(page, /People &lt;b&gt;talk&lt;\/b&gt;/);
  assert.match(page, /<svg [^>]*aria-label="sio_ack_duration: med 2 ms/);
  assert.doesNotMatch(page, /<script|https?:\/\/(?!127)|src=/);
  for (const text of Object.values(written)) assert.doesNotMatch(text, /secret-token/);
  assert.deepEqual([figure(1_234_567), figure(0.123456), figure(undefined), figure(512.6)], ['1,234,567', '0.123', '–', '513']);
});
