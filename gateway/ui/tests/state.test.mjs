// Transitions of the page's state: src/state.ts without a browser. Run by `npm test`.
import assert from 'node:assert/strict';
import test from 'node:test';

import * as s from '../src/state.ts';

const EPOCH = 'e1';
const ROOM = 'general';
const said = (offset, { user = 'ann', id = `id-${offset}`, epoch = EPOCH, kind = 'text' } = {}) => ({
  id,
  room: ROOM,
  epoch,
  offset,
  ts: 1000 * offset,
  kind,
  user,
  text: `text ${offset}`,
});
const pipe = (state, ...steps) => steps.reduce((so_far, step) => step(so_far), state);
const receive =
  (...args) =>
  (state) =>
    s.received(state, said(...args));

/** Me, in a room that holds messages 1 to `count`, looking at its end. */
function inRoom(count = 2, { online = { count: 1, users: ['me'] } } = {}) {
  const messages = Array.from({ length: count }, (_, i) => said(i + 1));
  return pipe(
    s.initial({ name: 'me', active: null, rooms: [] }),
    (state) => s.welcomed(state, { user: 'me', node: 'a', limits: state.limits }),
    (state) => s.opened(state, ROOM),
    (state) => s.joined(state, ROOM, { epoch: EPOCH, offset: count, recovered: false, messages, online }),
  );
}
const room = (state, name = ROOM) => state.rooms.get(name);
const offsets = (state) =>
  room(state)
    .items.filter((i) => i.is === 'message')
    .map((i) => i.message.offset);
const rejoin = (ack) => (state) =>
  s.joined(s.linkChanged(state, { is: 'online' }), ROOM, { epoch: EPOCH, online: { count: 1, users: ['me'] }, ...ack });
const lose = (state) => s.linkChanged(state, { is: 'lost', attempt: 1 });

test('a message is shown once, even if it is received several times', () => {
  const state = pipe(inRoom(), receive(3), receive(3), receive(3, { id: 'other' }), receive(9, { id: 'id-3' }));
  assert.deepEqual(offsets(state), [1, 2, 3]);
});

test('messages are shown in the order of the log, whatever the order of their arrival', () => {
  const state = pipe(inRoom(), receive(5), receive(3), receive(4));
  assert.deepEqual(offsets(state), [1, 2, 3, 4, 5]);
});

test('messages of a new epoch follow those of the old one, whatever their offsets', () => {
  const state = pipe(inRoom(), receive(1, { epoch: 'e2', id: 'x1' }), receive(2, { epoch: 'e2', id: 'x2' }));
  assert.deepEqual(offsets(state), [1, 2, 1, 2]);
  assert.deepEqual(room(state).position, { epoch: 'e2', offset: 2 });
});

test('a message of an unknown kind advances the position and is not shown', () => {
  const state = pipe(inRoom(), receive(3, { kind: 'reaction' }));
  assert.deepEqual(offsets(state), [1, 2]);
  assert.equal(room(state).position.offset, 3);
});

test('an acknowledged send is shown at once, and not again when its event arrives', () => {
  const queued = s.queued(inRoom(), ROOM, 'mine', 'hello', 5);
  assert.equal(s.nextToSend(queued, ROOM).id, 'mine');
  const acked = s.sent(queued, ROOM, { id: 'mine', epoch: EPOCH, offset: 3, ts: 9 });
  assert.deepEqual(offsets(acked), [1, 2, 3]);
  assert.equal(room(acked).outbox.length, 0);
  const echoed = pipe(acked, receive(3, { user: 'me', id: 'mine' }));
  assert.deepEqual(offsets(echoed), [1, 2, 3]);
  assert.equal(room(echoed).unread, 0);
});

test('the event of a send may arrive before its acknowledgement', () => {
  const state = pipe(s.queued(inRoom(), ROOM, 'mine', 'hello', 5), receive(3, { user: 'me', id: 'mine' }), (next) =>
    s.sent(next, ROOM, { id: 'mine', epoch: EPOCH, offset: 3, ts: 9 }),
  );
  assert.deepEqual(offsets(state), [1, 2, 3]);
  assert.equal(room(state).outbox.length, 0);
});

test('an acknowledgement does not advance the position past messages that are still missing', () => {
  const state = pipe(s.queued(inRoom(), ROOM, 'mine', 'hello', 5), (next) =>
    s.sent(next, ROOM, { id: 'mine', epoch: EPOCH, offset: 5, ts: 9 }),
  );
  assert.equal(room(state).position.offset, 2);
  assert.deepEqual(offsets(pipe(state, receive(3), receive(4))), [1, 2, 3, 4, 5]);
});

test('a refused send waits for the user; others are sent; a retry keeps its id', () => {
  const state = pipe(
    inRoom(),
    (next) => s.queued(next, ROOM, 'one', 'first', 5),
    (next) => s.queued(next, ROOM, 'two', 'second', 6),
    (next) => s.sendFailed(next, ROOM, 'one', 'too long'),
  );
  assert.equal(s.nextToSend(state, ROOM).id, 'two');
  const again = s.retried(state, ROOM, 'one', 7);
  assert.deepEqual(
    room(again).outbox.map(({ id, failed }) => [id, failed]),
    [
      ['two', null],
      ['one', null],
    ],
  );
  assert.equal(room(s.discarded(state, ROOM, 'one')).outbox.length, 1);
});

test('nothing is sent before the room is joined again', () => {
  const state = pipe(inRoom(), lose, (next) => s.queued(next, ROOM, 'mine', 'hello', 5));
  assert.equal(s.nextToSend(state, ROOM), undefined);
  assert.equal(s.nextToSend(rejoin({ offset: 2, recovered: true, messages: [] })(state), ROOM).id, 'mine');
});

test('a recovered rejoin appends the missed messages and shows no notice', () => {
  const state = pipe(inRoom(), lose, rejoin({ offset: 4, recovered: true, messages: [said(3), said(4)] }));
  assert.deepEqual(offsets(state), [1, 2, 3, 4]);
  assert.deepEqual(room(state).position, { epoch: EPOCH, offset: 4 });
  assert.equal(room(state).gap, false);
});

test('a rejoin that is not recovered replaces the list and shows a notice', () => {
  const messages = [said(8, { epoch: 'e2' }), said(9, { epoch: 'e2' })];
  const state = pipe(inRoom(), lose, rejoin({ epoch: 'e2', offset: 9, recovered: false, messages }));
  assert.deepEqual(offsets(state), [8, 9]);
  assert.equal(room(state).gap, true);
  assert.equal(room(state).more, true);
  assert.equal(room(s.gapDismissed(state, ROOM)).gap, false);
});

test('a send that was stored when its connection was lost leaves the outbox on rejoin', () => {
  const stored = said(3, { user: 'me', id: 'mine' });
  for (const recovered of [true, false]) {
    const state = pipe(
      s.queued(inRoom(), ROOM, 'mine', 'hello', 5),
      lose,
      rejoin({ offset: 3, recovered, messages: [stored] }),
    );
    assert.equal(room(state).outbox.length, 0);
    assert.equal(offsets(state).filter((offset) => offset === 3).length, 1);
  }
});

test('a resync keeps messages received while the history was loading', () => {
  const state = pipe(
    inRoom(),
    (next) => s.resyncStarted(next, ROOM),
    receive(12, { epoch: 'e2' }),
    (next) => s.resyncLoaded(next, ROOM, 'e2', [said(10, { epoch: 'e2' }), said(11, { epoch: 'e2' })], true),
  );
  assert.deepEqual(offsets(state), [10, 11, 12]);
  assert.deepEqual(room(state).position, { epoch: 'e2', offset: 12 });
  assert.equal(room(state).gap, true);
});

test('older messages are prepended, without those already present', () => {
  const state = pipe(
    inRoom(0),
    receive(5),
    receive(6),
    (next) => s.historyRequested(next, ROOM),
    (next) => s.historyLoaded(next, ROOM, [said(3), said(4), said(5)], true),
  );
  assert.deepEqual(offsets(state), [3, 4, 5, 6]);
  assert.equal(s.oldestOffset(room(state)), 3);
  assert.equal(room(state).loading, false);
});

test('a long room drops its oldest items and can load them again', () => {
  let state = s.viewChanged(inRoom(0), { focused: false });
  for (let offset = 1; offset <= s.MAX_ITEMS * 1.3; offset++) state = s.received(state, said(offset));
  assert.ok(offsets(state).length <= s.MAX_ITEMS * 1.2);
  assert.equal(offsets(state).at(-1), s.MAX_ITEMS * 1.3);
  assert.equal(room(state).more, true);
});

test('messages of others are unread while the page has no focus', () => {
  const away = s.viewChanged(inRoom(), { focused: false });
  const state = pipe(away, receive(3), receive(4), receive(5, { user: 'me' }));
  assert.equal(room(state).unread, 2);
  assert.equal(room(state).firstUnread, 'id-3');
  assert.equal(s.totalUnread(state), 2);
  const back = s.viewChanged(state, { focused: true });
  assert.equal(room(back).unread, 0);
  assert.equal(room(back).firstUnread, 'id-3', 'the divider stays until the room was left');
  assert.deepEqual(room(back).read, { epoch: EPOCH, offset: 5 });
});

test('a background room counts unread messages; opening it does not read what is out of view', () => {
  const state = pipe(
    inRoom(),
    (next) => s.opened(next, 'help'),
    receive(3),
    (next) => s.opened(next, ROOM),
  );
  assert.equal(room(state).unread, 1);
  assert.equal(state.pinned, false);
  assert.equal(room(s.viewChanged(state, { pinned: true })).unread, 0);
  const again = pipe(
    s.viewChanged(state, { pinned: true }),
    (next) => s.opened(next, 'help'),
    (next) => s.opened(next, ROOM),
  );
  assert.equal(room(again).firstUnread, null);
});

test('messages are unread while the log is scrolled up', () => {
  const state = pipe(s.viewChanged(inRoom(), { pinned: false }), receive(3));
  assert.equal(room(state).unread, 1);
});

test('after a reload, messages since the saved read position are unread', () => {
  const memory = {
    name: 'me',
    active: 'help',
    rooms: [
      { room: ROOM, read: { epoch: EPOCH, offset: 1 } },
      { room: 'help', read: null },
    ],
  };
  const state = s.joined(s.initial(memory), ROOM, {
    epoch: EPOCH,
    offset: 4,
    recovered: false,
    online: { count: 1, users: ['me'] },
    messages: [said(1), said(2), said(3, { user: 'me' }), said(4)],
  });
  assert.equal(state.active, 'help');
  assert.equal(room(state).unread, 2);
  assert.equal(room(state).firstUnread, 'id-2');
  assert.deepEqual(s.toSaved(state).rooms[0], memory.rooms[0]);
});

test('joins and leaves without a message in between are one note and cancel out', () => {
  const news = (joined, left, count) => (state) => s.presenceChanged(state, { room: ROOM, joined, left, count }, 1);
  const state = pipe(inRoom(1), news(['bob', 'me'], [], 2), news(['cy'], [], 3));
  assert.deepEqual(room(state).items.at(-1).joined, ['bob', 'cy']);
  assert.deepEqual(room(state).online, { count: 3, users: ['me', 'bob', 'cy'] });
  const gone = pipe(state, news([], ['bob'], 2));
  assert.deepEqual(room(gone).items.at(-1).joined, ['cy']);
  assert.equal(room(pipe(gone, news([], ['cy'], 1))).items.length, 1);
});

test('presence of a large room carries only a count', () => {
  const state = s.presenceChanged(inRoom(1), { room: ROOM, joined: [], left: [], count: 700 }, 1);
  assert.deepEqual(room(state).online, { count: 700, users: [] });
  assert.equal(room(state).items.length, 1);
});

test('typing ends by an event, a message, a leave, a timeout, or the loss of the connection', () => {
  const types =
    (user, typing = true) =>
    (state) =>
      s.typingChanged(state, { room: ROOM, user, typing }, 0);
  const typing = (state) => [...room(state).typing.keys()];
  const both = pipe(inRoom(), types('ann'), types('bob'), types('me'));
  assert.deepEqual(typing(both), ['ann', 'bob']);
  assert.deepEqual(typing(pipe(both, types('ann', false))), ['bob']);
  assert.deepEqual(typing(pipe(both, receive(3))), ['bob']);
  assert.deepEqual(typing(s.presenceChanged(both, { room: ROOM, joined: [], left: ['bob'], count: 1 }, 0)), ['ann']);
  assert.deepEqual(typing(s.typingExpired(both, s.TYPING_TIMEOUT + 1)), []);
  assert.equal(s.typingExpired(both, 1), both);
  assert.deepEqual(typing(lose(both)), []);
});

test('leaving activates another room, and events of unknown rooms are ignored', () => {
  const state = pipe(
    inRoom(),
    (next) => s.opened(next, 'help'),
    (next) => s.closed(next, 'help'),
  );
  assert.equal(state.active, ROOM);
  assert.equal(s.closed(state, ROOM).active, null);
  const three = pipe(inRoom(), ...['help', 'random', 'typo'].map((name) => (next) => s.opened(next, name)));
  assert.equal(s.closed(three, 'typo').active, 'random', 'back to where one was');
  assert.equal(s.received(state, { ...said(1), room: 'elsewhere' }), state);
});

test('another name keeps the rooms and drops their content', () => {
  const state = s.renamed(inRoom(), 'you');
  assert.equal(state.self, 'you');
  assert.deepEqual([...state.rooms.keys()], [ROOM]);
  assert.equal(room(state).position, null);
});
