// Invalid requests: each is answered with a code, and the connection stays open.
import assert from 'node:assert/strict';

import { assertRefusal, cluster, connect, refusedConnect, request, step, story, unique } from './harness.mjs';

const bytes = Buffer.from([0, 1, 2, 255]);
const KIB16 = 16 * 1024;
/** Invalid payloads, which every event must refuse. */
const NO_OBJECTS = [['nothing', []], ['null', [null]], ['a string', ['general']], ['a number', [7]], ['a list', [[]]], ['bytes', [bytes]]];

/** [what is wrong, event, payload, code]; `room` is joined, `other` is not. */
function mistakes(room, other) {
  return [
    ['join without a room', 'join', {}, 'bad_request'],
    ['join with a number as room', 'join', { room: 5 }, 'bad_request'],
    ['join with null as room', 'join', { room: null }, 'bad_request'],
    ['join with bytes as room', 'join', { room: bytes }, 'bad_request'],
    ['join with a list as room', 'join', { room: [room] }, 'bad_request'],
    ['join with an empty room', 'join', { room: '' }, 'bad_room'],
    ['join with a blank room', 'join', { room: '   ' }, 'bad_room'],
    ['join with a room of 129 characters', 'join', { room: 'é'.repeat(129) }, 'bad_room'],
    ['join with a control character', 'join', { room: 'a\u0000b' }, 'bad_room'],
    ['join with a reserved room', 'join', { room: '@all' }, 'bad_room'],
    ['join with a mistyped limit', 'join', { room: other, limit: 'many' }, 'bad_request'],
    ['join with a negative limit', 'join', { room: other, limit: -1 }, 'bad_request'],
    ['join with half a position', 'join', { room: other, since: { offset: 1 } }, 'bad_request'],
    ['join with a mistyped position', 'join', { room: other, since: 'yesterday' }, 'bad_request'],
    ['join with a negative offset', 'join', { room: other, since: { epoch: 'e', offset: -1 } }, 'bad_request'],
    ['send without a text', 'send_message', { room }, 'bad_request'],
    ['send without a room', 'send_message', { text: 'hi' }, 'bad_request'],
    ['send with a number as text', 'send_message', { room, text: 5 }, 'bad_request'],
    ['send with bytes as text', 'send_message', { room, text: bytes }, 'bad_request'],
    ['send with an object as text', 'send_message', { room, text: { html: '<b>' } }, 'bad_request'],
    ['send with an empty text', 'send_message', { room, text: '' }, 'bad_text'],
    ['send with a text one byte too long', 'send_message', { room, text: 'x'.repeat(KIB16 + 1) }, 'bad_text'],
    ['send with a text too long in bytes only', 'send_message', { room, text: 'é'.repeat(KIB16 / 2 + 1) }, 'bad_text'],
    ['send with a text of 100 KiB', 'send_message', { room, text: 'x'.repeat(100 * 1024) }, 'bad_text'],
    ['send with an empty room', 'send_message', { room: '', text: 'hi' }, 'bad_room'],
    ['send to a room not joined', 'send_message', { room: other, text: 'hi' }, 'not_joined'],
    ['send with an empty id', 'send_message', { room, text: 'hi', id: '' }, 'bad_id'],
    ['send with an id of 65 characters', 'send_message', { room, text: 'hi', id: 'i'.repeat(65) }, 'bad_id'],
    ['send with a number as id', 'send_message', { room, text: 'hi', id: 1 }, 'bad_request'],
    ['leave without a room', 'leave', {}, 'bad_request'],
    ['leave with an empty room', 'leave', { room: '' }, 'bad_room'],
    ['type without saying which', 'typing', { room }, 'bad_request'],
    ['type with a string', 'typing', { room, typing: 'yes' }, 'bad_request'],
    ['type in a room not joined', 'typing', { room: other, typing: true }, 'not_joined'],
    ['history without a room', 'history', {}, 'bad_request'],
    ['history with a mistyped offset', 'history', { room, before: 'now' }, 'bad_request'],
    ['history of a room not joined', 'history', { room: other }, 'not_joined'],
    ['rooms with a mistyped limit', 'rooms', { limit: {} }, 'bad_request'],
    ['online users without a room', 'online_users', {}, 'bad_request'],
    ['online users of a room not joined', 'online_users', { room: other }, 'not_joined'],
    ['an unknown event', 'no_such_event', {}, 'unknown_event'],
    ['an event that only the server sends', 'welcome', {}, 'unknown_event'],
    ['an event named like a property', '__proto__', {}, 'unknown_event'],
  ];
}

story('invalid requests are refused and the connection stays open', { timeout: 90_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, presence: 1 });
  const { pid } = gateway;
  const [room, other] = [unique('room'), unique('elsewhere')];

  for (const [namespace, transports] of [['/native', ['websocket']], ['/', ['polling']]]) {
    await step(`over ${transports} in ${namespace}`, async () => {
      const ann = await connect(gateway, { namespace, transports, reconnection: false });
      await ann.join(room);
      const { id } = ann.socket;
      const stillUp = async (after) => {
        await ann.send(room, `after ${after}`);
        assert.ok(ann.socket.connected && ann.socket.id === id, `the connection outlives: ${after}`);
      };
      for (const [what, event, payload, code] of mistakes(room, other)) {
        assertRefusal(await ann.ask(event, payload), code, what);
        await stillUp(what);
      }
      for (const event of ['join', 'leave', 'send_message', 'typing', 'history', 'online_users']) {
        for (const [what, args] of NO_OBJECTS) {
          assertRefusal(await ann.call(event, args), 'bad_request', `${event} with ${what}`);
          await stillUp(`${event} with ${what}`);
        }
      }
      // The same without an acknowledgement: they are ignored.
      for (const [what, event, payload] of mistakes(room, other)) {
        ann.socket.emit(event, payload);
        if (event === 'join') await stillUp(`${what}, unacknowledged`);
      }
      await stillUp('all of them');
      const page = await ann.ok('history', { room, limit: 200 });
      assert.ok(page.messages.every(({ text }) => text.startsWith('after ')), 'nothing refused was stored');
    });
  }

  await step('requests exactly at the limits are accepted', async () => {
    const ann = await connect(gateway, { name: 'é'.repeat(64), reconnection: false });
    const { limits } = ann.welcome;
    assert.deepEqual(limits, { max_text: KIB16, max_name: 64, max_room: 128, max_rooms: 256, max_page: 200, max_image: 1_048_576 });
    const longest = 'é'.repeat(128);
    await ann.join(longest);
    for (const [n, text] of ['x'.repeat(KIB16), 'é'.repeat(KIB16 / 2), '\u0001'.repeat(KIB16)].entries()) {
      const { offset } = await ann.ok('send_message', { room: longest, text, id: `${n}${'🦀'.repeat(63)}` });
      await ann.has(longest, offset);
      assert.equal(ann.room(longest).texts.at(-1), text);
    }
  });

  await step('unknown fields are ignored', async () => {
    const extra = { later: true, nested: { deep: [1, { x: null }] } };
    const ann = await connect(gateway, { auth: { username: 'ann', ...extra } });
    assert.equal(ann.welcome.user, 'ann');
    await ann.ok('join', { room, ...extra });
    await ann.ok('send_message', { room, text: 'hi', ...extra });
    await ann.ok('send_message', { room, text: 'hi', bytes, ...extra });
    await ann.ok('typing', { room, typing: true, ...extra });
    for (const event of ['history', 'online_users', 'leave']) await ann.ok(event, { room, ...extra });
    await ann.ok('rooms', extra);
  });

  await step('half a surrogate pair is replaced', async () => {
    const ann = await connect(gateway, { auth: { username: 'half \ud83d' } });
    assert.equal(ann.welcome.user, 'half \ufffd');
    await ann.join(room);
    const { offset } = await ann.ok('send_message', { room, text: 'nice 😀'.slice(0, 6) });
    await ann.has(room, offset);
    assert.equal(ann.room(room).texts.at(-1), 'nice \ufffd');
  });

  await step('names that look alike are one name', async () => {
    const ann = await connect(gateway, { auth: { username: 're\u0301ne\u0301 \u200b' + 'x', resume: 'mine' } });
    assert.equal(ann.welcome.user, 'r\u00e9n\u00e9 x');
    const error = await refusedConnect(gateway, { auth: { username: 'r\u00e9n\u00e9\u2060 x', resume: 'other' } });
    assert.equal(error.message, 'username_taken');
    const joined = await ann.ok('join', { room: `${room}\u200d` });
    assert.equal(joined.room, room);
  });

  await step('a 257th room is refused, the other memberships remain', async () => {
    const ann = await connect(gateway);
    const rooms = Array.from({ length: 256 }, (_, n) => `${other}-${n}`);
    await Promise.all(rooms.map((name) => ann.join(name, { limit: 0 })));
    await ann.refused('join', { room: `${other}-256` }, 'too_many_rooms');
    await ann.send(rooms[0], 'still here');
    await ann.ok('leave', { room: rooms[1] });
    await ann.join(`${other}-256`);
  });

  await step('a refused connect gets the code', async () => {
    for (const [auth, code] of [
      [{}, 'bad_request'],
      [{ username: null }, 'bad_request'],
      [{ username: 7 }, 'bad_request'],
      [{ username: ['ann'] }, 'bad_request'],
      [{ username: 'ann', resume: 7 }, 'bad_request'],
      [{ username: '' }, 'bad_username'],
      [{ username: ' ann' }, 'bad_username'],
      [{ username: '\u200b\u3164' }, 'bad_username'],
      [{ username: 'x'.repeat(65) }, 'bad_username'],
      [{ username: 'a\nb' }, 'bad_username'],
    ]) {
      const error = await refusedConnect(gateway, { auth });
      assert.equal(error.message, code, JSON.stringify(auth));
    }
  });

  await step('a refused HTTP request gets a code and a message', async () => {
    for (const [url, method, status, code] of [
      [`${gateway.url}/elsewhere`, 'GET', 404, 'not_found'],
      [`${gateway.url}/`, 'DELETE', 405, 'method_not_allowed'],
      [`${gateway.adminUrl}/elsewhere`, 'GET', 404, 'not_found'],
      [`${gateway.adminUrl}/debug/rooms`, 'POST', 405, 'method_not_allowed'],
      [`${gateway.adminUrl}/debug/rooms?limit=0`, 'GET', 400, 'bad_request'],
      // Clients of Engine.IO require a number.
      [`${gateway.url}/socket.io/?EIO=4&transport=websocket`, 'GET', 400, 3],
    ]) {
      const answer = await request(url, { method });
      const body = JSON.parse(answer.body);
      assert.deepEqual([answer.status, body.code, typeof body.message], [status, code, 'string'], url);
    }
  });

  assert.equal(gateway.pid, pid);
  assert.ok(gateway.running);
});
