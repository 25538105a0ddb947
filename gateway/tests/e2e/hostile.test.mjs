// Hostile input. At most the sender's own connection is closed; the process does not exit or panic (every story checks
// the logs for that) and goes on serving the other clients.
import assert from 'node:assert/strict';

import {
  RawSocket, cluster, connect, pollingUrl, rawSocket, rawUser, request, sidOf, step, story, unique, upgradeUrl,
} from './harness.mjs';

const CLOSES = true;
const deep = (n) => `${'['.repeat(n)}${']'.repeat(n)}`;

/** [what, frames, must the connection close?]; without the third, both closing and staying open are correct. */
const FRAMES = [
  ['an unknown Engine.IO packet', ['x'], CLOSES],
  ['an unknown Socket.IO packet', ['49'], CLOSES],
  ['letters for a packet type', ['4x/native,'], CLOSES],
  ['an event cut in two', ['42/native,["join",{"room":'], CLOSES],
  ['an event that is no list', ['42/native,{"join":1}'], CLOSES],
  ['an event without a name', ['42/native,[]'], CLOSES],
  ['an event whose name is no string', ['42/native,[7,{}]', '42/native,[null]', '42/native,[{}]']],
  ['a million attachments', ['451000000-/native,["send_message",{"_placeholder":true,"num":0}]'], CLOSES],
  ['eleven attachments', ['4511-/native,["send_message",{"_placeholder":true,"num":0}]'], CLOSES],
  ['one frame of a mebibyte', [`42/native,["send_message",{"room":"r","text":"${'x'.repeat(1 << 20)}"}]`], CLOSES],
  ['an empty frame', ['']],
  ['an empty message', ['4']],
  ['a multibyte character where a type belongs', ['é', '4é', '42é', '42/é,["join"]', '40/é']],
  ['an event cut within a multibyte character', [Buffer.from('42/native,["é', 'utf8').subarray(0, -1)]],
  ['zero attachments', ['450-/native,3["send_message",{"room":"r","text":"hi"}]']],
  ['attachments without a number', ['45-/native,["send_message",{}]', '45/native,["send_message",{}]']],
  ['an attachment that never comes', ['451-/native,4["send_message",{"_placeholder":true,"num":0}]']],
  ['an event where an attachment belongs', ['451-/native,["join",{"_placeholder":true,"num":0}]', '42/native,["rooms",{}]']],
  ['placeholders of a wrong type', ['451-/native,5["join",{"_placeholder":true,"num":"0"}]', Buffer.from('x')]],
  ['placeholders out of range', ['451-/native,6["join",{"_placeholder":true,"num":99}]', Buffer.from('x')]],
  ['negative placeholders', ['451-/native,7["join",{"_placeholder":true,"num":-1}]', Buffer.from('x')]],
  ['binary data that was not announced', [Buffer.alloc(1_000)]],
  ['a list 100,000 deep', [`42/native,8["join",${deep(50_000)}]`]],
  ['an object 10,000 deep', [`42/native,9["join",${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}]`]],
  ['huge numbers', ['42/native,10["join",{"room":"r","limit":1e999}]', '42/native,11["history",{"room":"r","before":99999999999999999999}]']],
  ['an acknowledgement number beyond 64 bits', ['42/native,99999999999999999999999["rooms",{}]']],
  ['an acknowledgement of no event', ['43/native,12345["x"]', '43/native,[]', '461-/native,1["x"]']],
  ['a second connect', ['40/native,{"username":"again"}', '40/native,{"username":"again"}']],
  ['a connect whose auth is no object', ['40/,7', '40/,"ann"', '40/,[]', '40/,{"username":']],
  ['a namespace that does not exist', ['40/nowhere,{}', `40/${'n'.repeat(10_000)},{}`, '42/nowhere,["join",{}]']],
  ['reserved event names as events', ['42/native,["connect"]', '42/native,["disconnect"]', '42/native,["disconnecting",{}]', '42/native,["error"]']],
  ['a connect error from the client', ['44/native,{"message":"no"}']],
  ['Engine.IO packets of the wrong side', ['0{"sid":"x"}', '2probe', '3probe', '5', '6']],
  ['an event named with 60,000 characters', [`42/native,12["${'e'.repeat(60_000)}",{}]`]],
  ['a packet with null bytes', ['42/native,["jo\u0000in",{}]', '\u0000']],
  ['events after a disconnect', ['41/native,', '42/native,13["rooms",{}]', '41/native,']],
];

story('hostile packets', { timeout: 120_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, presence: 1 });
  const { pid } = gateway;
  const room = unique('calm');
  const ann = await connect(gateway, { reconnection: false });
  await ann.join(room);
  const { id } = ann.socket;
  const served = async (after) => {
    await ann.send(room, after);
    assert.equal(ann.socket.id, id, `the connection of another outlives: ${after}`);
    assert.ok(gateway.running && gateway.pid === pid, `the process outlives: ${after}`);
  };

  for (const [what, frames, closes] of FRAMES) {
    await step(what, async () => {
      const raw = await rawUser(gateway, unique('raw'));
      raw.send(...frames);
      if (closes) await raw.ended();
      await served(what);
      raw.ws.terminate();
    });
  }

  await step('the same input before a namespace is connected', async () => {
    for (const [what, frames] of FRAMES) {
      const raw = await rawSocket(gateway);
      raw.send(...frames);
      await served(what);
      raw.ws.terminate();
    }
  });

  await step('a flood of fragments of one byte', async () => {
    const raw = await rawUser(gateway, unique('raw'));
    raw.ws.send('4', { fin: false });
    for (let n = 0; n < 20_000 && !raw.closed; n++) raw.ws.send('x', { fin: false });
    await served('fragments');
    raw.ws.terminate();
  });

  await step('5,000 events without waiting for an answer', async () => {
    const raw = await rawUser(gateway, unique('raw'));
    for (let n = 0; n < 5_000; n++) raw.send(`42/native,${n}["send_message",{"room":"nowhere","text":"x"}]`);
    await served('a flood of events');
    raw.ws.terminate();
  });

  await step('a member whose connection ended in the middle of a packet leaves', async () => {
    const raw = await rawUser(gateway, 'half');
    raw.send(`42/native,1["join",{"room":"${room}"}]`);
    await raw.frame(/^43\/native,1\[\{"status":"ok"/);
    await ann.sees(room, 'half');
    raw.send('452-/native,2["send_message",{"_placeholder":true,"num":0}]', Buffer.alloc(60_000), '41/native,');
    raw.ws.terminate();
    await ann.seesLeave(room, 'half', 25_000);
  });
});

story('hostile requests', { timeout: 60_000 }, async () => {
  // An empty poll is answered by the next ping, so a short ping interval shortens the test.
  const args = ['--ping-interval', '2s', '--ping-timeout', '4s'];
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false, args });
  const open = async () => sidOf((await request(pollingUrl(gateway))).body);
  /** Every request is answered without a 5xx status, or its connection is closed; none hangs. */
  const answered = async (url, options) => {
    const { status } = await request(url, options).catch((error) => {
      if (/no answer/.test(error.message)) throw error;
      return { status: 400 };
    });
    assert.ok(status < 500, `${options?.method ?? 'GET'} ${url.slice(0, 120)}: ${status}`);
    return status;
  };

  await step('invalid session ids are answered 400', async () => {
    for (const sid of ['__proto__', 'constructor', '..%2f..', '%00', 'x'.repeat(5_000), '%F0%9F%A6%80', '1e999']) {
      assert.equal(await answered(pollingUrl(gateway, `&sid=${sid}`)), 400, `GET sid=${sid.slice(0, 20)}`);
      const posted = await answered(pollingUrl(gateway, `&sid=${sid}`), { method: 'POST', body: '40' });
      assert.equal(posted, 400, `POST sid=${sid.slice(0, 20)}`);
    }
  });

  await step('unknown versions and transports are answered 400', async () => {
    const base = `${gateway.url}/socket.io/?`;
    for (const query of ['', 'EIO=4', 'transport=polling', 'EIO=5&transport=polling', 'EIO=4&transport=__proto__', 'EIO=4&transport=', 'EIO=four&transport=polling', 'EIO=4&transport=websocket']) {
      assert.equal(await answered(base + query), 400, query);
    }
  });

  await step('every POST is answered, whatever its body', async () => {
    const bodies = ['', 'x', '\x1e', '\x1e\x1e\x1e', 'b!!!!', 'bAAAA', '4', '40\x1e', '451-["x"]\x1ebAAAA', '451000000-["x"]', 'é', '1', Buffer.from([0xff, 0xfe, 0x00]), 'x'.repeat(300_000), '6\x1e'.repeat(10_000)];
    for (const body of bodies) {
      for (const type of ['text/plain;charset=UTF-8', 'application/octet-stream']) {
        const url = pollingUrl(gateway, `&sid=${await open()}`);
        await answered(url, { method: 'POST', headers: { 'content-type': type }, body });
      }
    }
  });

  await step('other methods and concurrent polls are answered', async () => {
    for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS']) await answered(pollingUrl(gateway), { method });
    const url = pollingUrl(gateway, `&sid=${await open()}`);
    await request(url, { method: 'POST', body: '40/native,{"username":"poller"}' });
    await Promise.all([answered(url), answered(url)]);
  });

  await step('too many and too long headers are refused', async () => {
    const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`x-${n}`, 'y']));
    assert.ok((await answered(pollingUrl(gateway), { headers: many })) >= 400);
    assert.ok((await answered(pollingUrl(gateway), { headers: { 'x-long': 'y'.repeat(1 << 20) } })) >= 400);
  });

  await step('an upgrade that does not match its session is refused', async () => {
    const sid = await open();
    const fitting = upgradeUrl(gateway, `&sid=${sid}`);
    const wrong = [
      upgradeUrl(gateway, '&sid=__proto__'),
      fitting.replace('EIO=4', 'EIO=3'),
      fitting.replace('EIO=4&', ''),
    ];
    for (const url of wrong) {
      const socket = new RawSocket(url);
      await socket.ended(2_000); // long before the session itself would end
      assert.deepEqual(socket.frames, [], url);
    }
  });

  await step('the gateway still serves clients', async () => {
    const ann = await connect(gateway, { transports: ['polling', 'websocket'] });
    await ann.join('calm');
    const { offset } = await ann.send('calm', 'still here');
    await ann.has('calm', offset);
  });
});
