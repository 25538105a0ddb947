// Rows of a log and their texts: src/timeline.ts, format.ts, strings.ts. Run by `npm test`.
import assert from 'node:assert/strict';
import test from 'node:test';

import { canonicalName, dayName, initials, splitLinks, sortedNames, tone } from '../src/format.ts';
import { people, texts } from '../src/strings.ts';
import { rows } from '../src/timeline.ts';

const noon = new Date(2026, 2, 10, 12).getTime();
const minute = 60_000;
const said = (id, user, ts) => ({ is: 'message', message: { id, offset: 1, user, ts, text: id } });
const shape = (list) => list.map((row) => (row.is === 'message' ? `${row.id}${row.head ? '*' : ''}` : row.is));
const log = (items, more = {}) => rows({ items, outbox: [], firstUnread: null, ...more }, 'me');

test('one author’s messages within five minutes share a heading', () => {
  const items = [
    said('a', 'ann', noon),
    said('b', 'ann', noon + minute),
    said('c', 'bob', noon + 2 * minute),
    said('d', 'bob', noon + 8 * minute),
  ];
  assert.deepEqual(shape(log(items)), ['day', 'a*', 'b', 'c*', 'd*']);
});

test('days, the divider and presence notes break a group', () => {
  const items = [
    said('a', 'ann', noon),
    { is: 'presence', key: 'p', ts: noon, joined: ['x'], left: [] },
    said('b', 'ann', noon + 1),
    said('c', 'ann', noon + 2),
    said('d', 'ann', noon + 24 * 60 * minute),
  ];
  assert.deepEqual(shape(log(items, { firstUnread: 'c' })), [
    'day',
    'a*',
    'presence',
    'b*',
    'divider',
    'c*',
    'day',
    'd*',
  ]);
});

test('a clock that went back adds no second heading for a day', () => {
  const items = [said('a', 'ann', noon), said('b', 'ann', noon - 24 * 60 * minute), said('c', 'ann', noon)];
  const keys = log(items).map((row) => row.key);
  assert.equal(new Set(keys).size, keys.length);
});

test('messages that are not sent yet are shown at the end, as own messages', () => {
  const outbox = [
    { id: 'x', text: 'x', ts: noon, failed: null },
    { id: 'y', text: 'y', ts: noon, failed: 'no' },
  ];
  const last = log([said('a', 'ann', noon)], { outbox }).slice(-2);
  assert.deepEqual(
    last.map((row) => [row.id, row.own, row.delivery, row.offset]),
    [
      ['x', true, 'pending', null],
      ['y', true, 'failed', null],
    ],
  );
});

test('a stored message keeps the key it had in the outbox', () => {
  const outbox = [{ id: 'x', text: 'x', ts: noon, failed: null }];
  assert.equal(log([], { outbox }).at(-1).key, log([said('x', 'me', noon)]).at(-1).key);
});

test('only http and https become links, without the full stop that ends a sentence', () => {
  assert.deepEqual(splitLinks('see https://a.example/x?y=1. or javascript:alert(1)'), [
    { text: 'see ', href: null },
    { text: 'https://a.example/x?y=1', href: 'https://a.example/x?y=1' },
    { text: '. or javascript:alert(1)', href: null },
  ]);
  assert.deepEqual(splitLinks('http://'), [{ text: 'http://', href: null }]);
  assert.equal(
    splitLinks('a <b>https://x.example</b>')
      .map(({ text }) => text)
      .join(''),
    'a <b>https://x.example</b>',
  );
});

test('names', () => {
  assert.equal(initials('ada lovelace'), 'AL');
  assert.equal(initials('zoë'), 'Z');
  assert.equal(initials('🦀 crab'), '🦀C');
  assert.equal(tone('ann', 8), tone('ann', 8));
  assert.deepEqual(sortedNames(['cy', 'Bob', 'ann', 'me'], 'me'), ['me', 'ann', 'Bob', 'cy']);
  const shown = (text) => text.replace(/\u2068(.*?)\u2069/gu, '<$1>');
  assert.equal(shown(people(['a', 'b', 'c', 'd'])), '<a>, <b>, <c>, and <d>');
  assert.equal(shown(people(['a', 'b', 'c', 'd', 'e'])), '<a>, <b>, <c>, and 2 others');
  assert.equal(shown(texts.typing(['a'])), '<a> is typing…');
  assert.equal(shown(texts.typing(['a', 'b'])), '<a> and <b> are typing…');
});

test('every name in a sentence of the page is isolated from its direction', () => {
  const name = '\u05d0';
  const sentences = [
    people([name]),
    texts.joinedRoom([name]),
    texts.leftRoom([name]),
    texts.typing([name]),
    texts.startOfRoom(name),
    texts.writeTo(name),
    texts.leftTheRoom(name),
    texts.announcement(name, ''),
  ];
  for (const sentence of sentences) assert.ok(sentence.includes(`\u2068${name}\u2069`), sentence);
});

test('a typed name gets the form in which the server stores it', () => {
  for (const [typed, name] of [
    [' ann ', 'ann'],
    ['e\u0301', '\u00e9'],
    ['an\u200bn\u3164', 'ann'],
    ['\u202eann\ufe0f', 'ann'],
    ['e\u034f\u0301', '\u00e9'],
    ['\u2060 \u3164', ''],
  ]) {
    assert.equal(canonicalName(typed), name);
  }
});

test('names of days are relative for today and yesterday', () => {
  const words = { today: 'Today', yesterday: 'Yesterday' };
  assert.equal(dayName(noon, noon + minute, words), 'Today');
  assert.equal(dayName(noon - 13 * 60 * minute, noon, words), 'Yesterday');
  assert.match(dayName(noon - 5 * 24 * 60 * minute, noon, words), /5/);
});
