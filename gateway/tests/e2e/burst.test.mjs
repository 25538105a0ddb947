// 1,000 clients that send their first event in the same write as their connect packet: each join is handled and
// acknowledged. Handlers that are registered too late would lose some.
import assert from 'node:assert/strict';

import { cluster, connect, eachBounded, eventually, hopeless, pollingUrl, rawSocket, request, sidOf, story, unique } from './harness.mjs';

const CLIENTS = 1_000;
const POLLING = 50;

story('connect and join in one write', { timeout: 120_000 }, async () => {
  const { gateways } = await cluster({ gateways: 2, presence: 1 });
  const room = unique('burst');
  const namespaces = ['/native', '/'];
  const prefix = (n) => (namespaces[n % 2] === '/' ? '' : `${namespaces[n % 2]},`);

  const sockets = await eachBounded(Array.from({ length: CLIENTS }), 50, (_, n) => rawSocket(gateways[(n >> 1) % 2]));
  sockets.forEach((socket, n) => {
    socket.sendAtOnce(
      `40${prefix(n)}${JSON.stringify({ username: `burst-${n}` })}`,
      `42${prefix(n)}7${JSON.stringify(['join', { room, limit: 0 }])}`,
    );
  });

  const acks = [];
  await eventually(
    () => {
      sockets.forEach((socket, n) => {
        if (socket.closed) hopeless(`client ${n} was dropped`);
        acks[n] ??= socket.frames.find((frame) => frame.startsWith(`43${prefix(n)}7[`));
      });
      return Object.keys(acks).filter((n) => acks[n]).length === CLIENTS;
    },
    { timeout: 60_000, every: 200, what: () => `${acks.filter(Boolean).length} of ${CLIENTS} were answered` },
  );
  acks.forEach((frame, n) => {
    const [ack] = JSON.parse(frame.slice(`43${prefix(n)}7`.length));
    assert.equal(ack.status, 'ok', `client ${n}: ${frame}`);
    assert.equal(ack.room, room);
    // The answer to the connect packet precedes everything else.
    const connected = sockets[n].frames.findIndex((sent) => sent.startsWith(`40${prefix(n)}`));
    assert.ok(connected >= 0 && connected < sockets[n].frames.indexOf(frame), `client ${n}: connected first`);
  });

  // They are members: counted once the last join is in the store, and reached by the next message.
  const olga = await connect(gateways[0], { name: 'olga' });
  await olga.join(room);
  let counted;
  await eventually(
    async () => ({ count: counted } = await olga.ok('online_users', { room })).count === CLIENTS + 1,
    { what: () => `${counted} of ${CLIENTS + 1} are counted` },
  );
  const { id } = await olga.send(room, 'to all');
  await eventually(
    () => sockets.every((socket) => socket.frames.some((frame) => frame.includes('"message"') && frame.includes(id))),
    { timeout: 30_000, every: 200, what: 'the message reaches every one of them' },
  );
});

story('connect and join in one POST', { timeout: 60_000 }, async () => {
  const { gateways: [a] } = await cluster({ gateways: 1, redis: false });
  const room = unique('burst');
  await eachBounded(Array.from({ length: POLLING }), 10, async (_, n) => {
    const url = `${pollingUrl(a)}&sid=${sidOf((await request(pollingUrl(a))).body)}`;
    const packets = [
      `40/native,${JSON.stringify({ username: `poll-${n}` })}`,
      `42/native,7${JSON.stringify(['join', { room, limit: 0 }])}`,
    ];
    assert.equal((await request(url, { method: 'POST', body: packets.join('\x1e') })).status, 200);
    let seen = '';
    const answered = async () => {
      const { status, body } = await request(url);
      if (status !== 200) hopeless(`client ${n} was dropped: ${status} ${body}`);
      return (seen += body).includes('43/native,7[');
    };
    await eventually(answered, { what: () => `client ${n} is answered; seen: ${seen}` });
    assert.match(seen, /43\/native,7\[\{"status":"ok"/);
  });
});
