// The cases of Socket.IO's protocol, version 5 over Engine.IO 4 and version 4 over Engine.IO 3, over long-polling and
// WebSocket, written from the protocol's documents: of a gateway, and of the reference, which proves the cases.
import assert from 'node:assert/strict';

import { unique } from './harness.mjs';
import { Polling, auth, connected, suite, webSocket } from './protocol.mjs';

const TRANSPORTS = ['polling', 'websocket'];
const BYTES = Buffer.from([1, 2, 3, 4]);
const open = (transport, server, eio, query) =>
  transport === 'polling' ? Polling.open(server, eio, query) : webSocket(server, eio, { query });

/** Waits until the server has closed the session, whatever it says before. */
const ended = (session) => session.ended();
/** The connection is still answered: so nothing that was sent before closed it. */
async function goesOn(session, id = 99) {
  await session.send(`42${id}["join",{"room":"suite"}]`);
  await session.until(new RegExp(`^43${id}\\[\\{"status":"ok"`));
}

/** An attachment, as each transport and version sends it. */
function attachment({ eio }, transport, bytes = BYTES) {
  if (transport === 'polling') return `${eio === 4 ? 'b' : 'b4'}${bytes.toString('base64')}`;
  return eio === 4 ? bytes : Buffer.concat([Buffer.of(4), bytes]);
}

/** Events, acknowledgements and broken packets, which are the same in both versions. */
const events = (transport) => [
  ['an event without an acknowledgement is handled, and one comes back', async (target) => {
    const [session, room] = [await connected(target, transport), unique('room')];
    await session.send(`421["join",{"room":"${room}"}]`);
    await session.until(/^431\[/);
    await session.send(`42["send_message",{"room":"${room}","text":"hello"}]`);
    await session.until(/^42\["message",\{.*"text":"hello"/);
  }],
  ['an event is acknowledged with its id', async (target) => {
    const session = await connected(target, transport);
    for (const id of [0, 7, 456, 9_007_199_254_740_991]) await goesOn(session, id);
  }],
  ['further arguments of an event are no reason to refuse it', async (target) => {
    const session = await connected(target, transport);
    await session.send('421["join",{"room":"suite"},1,"2",{"3":[true]},null]');
    await session.until(/^431\[\{"status":"ok"/);
  }],
  ['an event with two attachments is acknowledged', async (target) => {
    const session = await connected(target, transport);
    const packet = '452-1["join",{"room":"suite","one":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}]';
    await session.send(packet, attachment(target, transport), attachment(target, transport, Buffer.alloc(300, 9)));
    await session.until(/^431\[\{"status":"ok"/);
    await goesOn(session);
  }],
  ['an event with an attachment and no acknowledgement is handled', async (target) => {
    const [session, room] = [await connected(target, transport), unique('room')];
    await session.send(`421["join",{"room":"${room}"}]`);
    await session.until(/^431\[/);
    const packet = `451-["send_message",{"room":"${room}","text":"with bytes","bytes":{"_placeholder":true,"num":0}}]`;
    await session.send(packet, attachment(target, transport));
    await session.until(/^42\["message",\{.*"text":"with bytes"/);
  }],
  ...[
    ['an unknown type of packet', '4abc'],
    ['a packet without a type', '4'],
    ['a payload that is no list', '42{}'],
    ['an acknowledgement id that is no number', '42abc["join",{"room":"suite"}]'],
    ['a payload that is no JSON', '42["join",'],
    ['an empty list', '42[]'],
  ].map(([what, packet]) => [`${what} closes the connection`, async (target) => {
    const session = await connected(target, transport);
    if (transport === 'polling') await session.post(packet);
    else session.send(packet);
    await ended(session);
  }]),
  ['an event before the namespace is entered closes the connection', async (target) => {
    if (target.eio === 3) return;
    const session = await open(transport, target.server, 4, {});
    if (transport === 'polling') await session.post('421["join",{"room":"suite"}]');
    else session.send('421["join",{"room":"suite"}]');
    await ended(session);
  }],
];

const connects5 = (transport) => [
  ['the main namespace is entered', async ({ server }) => {
    const session = await open(transport, server, 4, {});
    await session.send(`40${JSON.stringify(auth())}`);
    const answer = await session.until(/^40/);
    const { sid } = JSON.parse(answer.slice(2));
    assert.equal(typeof sid, 'string');
    assert.notEqual(sid, session.handshake.sid, 'the id that others may see is not that of the session');
    await session.until(/^42\["welcome"/);
  }],
  ['a custom namespace is entered', async ({ server }) => {
    const session = await open(transport, server, 4, {});
    await session.send(`40/native,${JSON.stringify(auth())}`);
    assert.match(await session.until(/^40/), /^40\/native,\{"sid":"[^"]+"/);
    await session.until(/^42\/native,\["welcome"/);
  }],
  ['an unknown namespace is refused, and the connection goes on', async ({ server }) => {
    const session = await open(transport, server, 4, {});
    // In this version a query is part of the name.
    for (const name of ['random', 'native2', 'native?a=1']) {
      await session.send(`40/${name},${JSON.stringify(auth())}`);
      const answer = await session.until(/^44/);
      assert.ok(answer.startsWith(`44/${name},{"message":"Invalid namespace"`), answer);
    }
    await session.send(`40${JSON.stringify(auth())}`);
    await session.until(/^40\{/);
  }],
  ['a refusal by the server is an object with a message, and the connection goes on', async ({ server }) => {
    const session = await open(transport, server, 4, {});
    await session.send('40{}');
    assert.equal(JSON.parse((await session.until(/^44/)).slice(2)).message, 'bad_request');
    await session.send(`40/native,${JSON.stringify(auth())}`);
    await session.until(/^40\/native,/);
  }],
  ['two namespaces are side by side', async (target) => {
    const session = await connected(target, transport);
    await session.send(`40/native,${JSON.stringify(auth())}`);
    await session.until(/^40\/native,/);
    await session.send('42/native,1["join",{"room":"suite"}]', '421["join",{"room":"suite"}]');
    await session.until(/^43\/native,1\[\{"status":"ok"/);
    await session.until(/^431\[\{"status":"ok"/);
  }],
  ['broken auth closes the connection', async ({ server }) => {
    for (const packet of ['40{"a":', '40["a"]']) {
      const session = await open(transport, server, 4, {});
      if (transport === 'polling') await session.post(packet);
      else session.send(packet);
      await ended(session);
    }
  }],
  ['a second connect packet for a namespace closes the connection', async (target) => {
    const session = await connected(target, transport);
    if (transport === 'polling') await session.post(`40${JSON.stringify(auth())}`);
    else session.send(`40${JSON.stringify(auth())}`);
    await ended(session);
  }],
  ['a connection that enters no namespace in time is closed', async ({ server }) => {
    const session = await open(transport, server, 4, {});
    await session.ended(20_000);
  }],
  ['the main namespace is left, and the connection goes on', async ({ pinging }) => {
    const session = await connected({ server: pinging, eio: 4 }, transport);
    await session.send('41');
    await session.send(`40/native,${JSON.stringify(auth())}`);
    await session.until(/^40\/native,/);
  }],
  ['a namespace is left and entered again', async (target) => {
    const session = await connected(target, transport);
    await session.send(`40/native,${JSON.stringify(auth())}`);
    await session.until(/^42\/native,\["welcome"/);
    await session.send('41/native,');
    await goesOn(session, 1);
    await session.send(`40/native,${JSON.stringify(auth())}`);
    await session.until(/^40\/native,/);
    await session.until(/^42\/native,\["welcome"/);
    await goesOn(session, 2);
  }],
  ['a custom namespace is left, and the main one goes on', async (target) => {
    const session = await connected(target, transport);
    await session.send(`40/native,${JSON.stringify(auth())}`);
    await session.until(/^40\/native,/);
    await session.send('41/native,');
    await goesOn(session);
  }],
];

const connects4 = (transport) => [
  ['the main namespace is entered without being asked', async ({ server }) => {
    const session = await open(transport, server, 3, auth());
    await session.until(/^40$/);
    await session.until(/^42\["welcome"/);
  }],
  ['a custom namespace is entered', async ({ server }) => {
    const session = await open(transport, server, 3, auth());
    await session.send('40/native,');
    await session.until(/^40\/native,?$/);
    await session.until(/^42\/native,\["welcome"/);
  }],
  ['a custom namespace is entered with a query, with and without a comma', async ({ server }) => {
    for (const packet of ['40/native?a=1&b=2', '40/native?a=1,']) {
      const session = await open(transport, server, 3, auth());
      await session.send(packet);
      assert.match(await session.until(/^4[04]\/native/), /^40\/native,?$/, packet);
      await session.until(/^42\/native,\["welcome"/);
    }
  }],
  ['an unknown namespace is refused, and the connection goes on', async (target) => {
    const session = await connected(target, transport);
    await session.send('40/random,');
    assert.equal(await session.until(/^44/), '44/random,{"message":"Invalid namespace"}');
    await goesOn(session);
  }],
  ['a refusal by the server is a string', async ({ server }) => {
    const session = await open(transport, server, 3, {});
    assert.equal(await session.until(/^44/), '44"bad_request"');
  }],
  ['a custom namespace is left, and the main one goes on', async (target) => {
    const session = await connected(target, transport);
    await session.send('40/native,');
    await session.until(/^42\/native,\["welcome"/);
    await session.send('41/native,');
    await goesOn(session);
  }],
  ['the main namespace is left, and the connection stays', async (target) => {
    const session = await connected(target, transport);
    await session.send('41');
    await session.send('2');
    await session.until(/^3$/);
  }],
];

for (const transport of TRANSPORTS) {
  suite(`Socket.IO 5 over ${transport}`, 4, [...connects5(transport), ...events(transport)]);
  suite(`Socket.IO 4 over ${transport}`, 3, [...connects4(transport), ...events(transport)]);
}
