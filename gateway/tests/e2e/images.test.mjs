// Images: sent as bytes and as data URLs over every transport and by old clients, fetched from any gateway, bounded, and
// gone with the last message.
import assert from 'node:assert/strict';
import http from 'node:http';
import io2 from 'socket.io-client-2';

import { KIB, MIB, dataUrl, fetched, png } from './images.mjs';
import { Polling } from './protocol.mjs';
import { assertRefusal, cluster, connect, eventually, proxy, rawUser, request, scope, step, story, unique } from './harness.mjs';

story('images on two gateways', { timeout: 90_000 }, async () => {
  const { gateways: [a, b], redis } = await cluster({ gateways: 2, presence: 0, args: ['--image-store-bytes', `${6 * MIB}`] });
  const room = unique('room');
  const bob = await connect(b, { name: unique('bob') });
  await bob.join(room);

  /** Sends an image and checks that it is received and fetched from the other gateway. */
  async function sends(client, image, bytes, more = {}) {
    const ack = await client.ok('send_image', { room, image, ...more });
    assert.match(ack.url, /^\/images\/[0-9a-f]{32}$/);
    await bob.has(room, ack.offset);
    const message = bob.room(room).messages.find(({ id }) => id === ack.id);
    assert.deepEqual(
      [message.kind, message.user, message.image, message.alt],
      ['image', client.name, { url: ack.url, width: 1, height: 1, type: 'image/png', bytes: bytes.length }, more.alt ?? ''],
    );
    const got = await fetched(b.url + ack.url);
    assert.equal(got.status, 200);
    assert.ok(got.bytes.equals(bytes), 'the bytes that were sent');
    return ack;
  }

  await step('bytes and data URLs, over both transports', async () => {
    const small = png();
    const large = png({ bytes: MIB });
    assert.equal(large.length, MIB);
    for (const transports of [['websocket'], ['polling']]) {
      const ann = await connect(a, { name: unique('ann'), transports });
      await ann.join(room);
      await sends(ann, small, small, { alt: 'a dot' });
      await sends(ann, dataUrl(small), small);
      await sends(ann, large, large);
      await sends(ann, dataUrl(large), large);
      // One after the other without waiting: the order is kept.
      const acks = await Promise.all([
        ann.ok('send_message', { room, text: 'before' }),
        ann.ok('send_image', { room, image: large }),
        ann.ok('send_message', { room, text: 'after' }),
      ]);
      assert.deepEqual(acks.map(({ offset }) => offset - acks[0].offset), [0, 1, 2]);
      assert.ok(ann.socket.connected);
      ann.close();
    }
  });

  await step('polls that reach the wrong gateway', async () => {
    // Every connection goes to the next gateway, and each request has one of its own.
    let next = 0;
    const spread = { url: '', label: 'spread' };
    const server = http.createServer((incoming, answer) => {
      const { port } = [a, b][next++ % 2];
      const passed = http.request({ port, host: '127.0.0.1', path: incoming.url, method: incoming.method, headers: incoming.headers, agent: false }, (response) => {
        answer.writeHead(response.statusCode, response.headers);
        response.pipe(answer);
      });
      passed.on('error', () => answer.destroy());
      incoming.pipe(passed);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    scope().defer(() => server.close());
    spread.url = `http://127.0.0.1:${server.address().port}`;
    const ann = await connect(spread, { name: unique('ann'), transports: ['polling'] });
    await ann.join(room);
    const large = png({ bytes: MIB });
    await sends(ann, large, large);
    await sends(ann, dataUrl(large), large);
    assertRefusal(await ann.ask('send_image', { room, image: dataUrl(Buffer.alloc(5 * MIB)) }), 'image_too_large');
    assert.ok(ann.socket.connected);
    ann.close();
  });

  await step('a client of Engine.IO 3', async () => {
    for (const transports of [['websocket'], ['polling']]) {
      const name = unique('old');
      const socket = io2(a.url, { query: { username: name }, transports, forceNew: true, reconnection: false });
      scope().defer(() => socket.disconnect());
      const ask = (event, payload) => new Promise((resolve) => socket.emit(event, payload, resolve));
      await eventually(() => socket.connected, { what: `${name} connects over ${transports}` });
      await ask('join', { room });
      const image = png({ bytes: 900 * KIB, mark: 3 });
      for (const sent of [image, dataUrl(image)]) {
        const ack = await ask('send_image', { room, image: sent });
        assert.equal(ack.status, 'ok', JSON.stringify(ack));
        assert.ok((await fetched(b.url + ack.url)).bytes.equals(image));
      }
      // Two at once are one body of long-polling.
      const both = await Promise.all([ask('send_image', { room, image }), ask('send_image', { room, image: dataUrl(image) })]);
      assert.deepEqual(both.map(({ status }) => status), ['ok', 'ok']);
      socket.disconnect();
    }
  });

  const ann = await connect(a, { name: unique('ann'), reconnection: false });
  await ann.join(room);

  await step('the headers keep browsers from executing it, and let them keep it', async () => {
    const { url } = await ann.ok('send_image', { room, image: png() });
    const { headers } = await fetched(b.url + url);
    assert.equal(headers['content-type'], 'image/png');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['content-security-policy'], "sandbox; default-src 'none'");
    assert.match(headers['cache-control'], /immutable/);
    assert.equal(headers['cross-origin-resource-policy'], 'cross-origin');
    for (const path of ['/images/', '/images/x', `/images/${'0'.repeat(32)}`, `/images/${'A'.repeat(32)}`]) {
      assert.equal((await request(b.url + path)).status, 404, path);
    }
  });

  await step('a repeated id is answered with the first image', async () => {
    const id = unique('id');
    const first = await ann.ok('send_image', { room, image: png({ mark: 1 }), id });
    const again = await ann.ok('send_image', { room, image: png({ mark: 1 }), id });
    assert.deepEqual(again, first);
    assert.equal((await fetched(b.url + first.url)).status, 200);
    await ann.send(room, 'text', `${id}-text`);
    await ann.refused('send_image', { room, image: png(), id: `${id}-text` }, 'id_taken');
  });

  await step('what is wrong is refused, and the connection stays open', async () => {
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>');
    for (const transports of [['websocket'], ['polling']]) {
      const eve = await connect(a, { name: unique('eve'), transports, reconnection: false });
      await eve.join(room);
      for (const [what, payload, code] of [
        ['nothing', {}, 'bad_request'],
        ['a number', { room, image: 7 }, 'bad_request'],
        ['an object', { room, image: { a: 1 } }, 'bad_request'],
        ['a string', { room, image: 'dot.png' }, 'bad_image'],
        ['a text', { room, image: Buffer.from('hello') }, 'bad_image'],
        ['an SVG that is called PNG', { room, image: dataUrl(svg) }, 'bad_image'],
        ['an SVG', { room, image: svg }, 'bad_image'],
        ['an image bomb', { room, image: png({ width: 60_000, height: 60_000 }) }, 'image_dimensions'],
        ['an image of a byte too much', { room, image: png({ bytes: MIB + 1 }) }, 'image_too_large'],
        ['bytes for the room', { room: Buffer.from(room), image: png() }, 'bad_request'],
        ['no room', { image: png() }, 'bad_request'],
        ['another room', { room: unique('other'), image: png() }, 'not_joined'],
        ['a long description', { room, image: png(), alt: 'x'.repeat(1_001) }, 'bad_text'],
        ['bytes of 3 MiB', { room, image: Buffer.alloc(3 * MIB) }, 'image_too_large'],
        ['a data URL of 5 MB', { room, image: dataUrl(Buffer.alloc(3_750_000)) }, 'image_too_large'],
        ['a data URL of nearly 8 MiB', { room, image: dataUrl(Buffer.alloc(6_200_000)) }, 'image_too_large'],
      ]) {
        assertRefusal(await eve.ask('send_image', payload), code, `${what} over ${transports}`);
        await eve.send(room, `after ${what}`);
      }
      assert.ok(eve.socket.connected);
      eve.close();
    }
  });

  await step('what is longer than is read ends the connection, as do long packets of other events', async () => {
    const long = 'x'.repeat(200 * KIB);
    for (const [what, frames] of [
      ['a packet of more than 8 MiB', [`42/native,1["send_image",{"room":"r","image":"${'x'.repeat(8 * MIB)}"}]`]],
      ['attachments of more than 8 MiB', ['451-/native,1["send_image",{"image":{"_placeholder":true,"num":0}}]', Buffer.alloc(8 * MIB + 1)]],
      ['a long text', [`42/native,1["send_message",{"room":"r","text":"${long}"}]`]],
      ['a long event of another name', [`42/native,1["send_images",{"image":"${long}"}]`]],
      ['a long packet of a namespace that was not entered', [`42["send_image",{"image":"${long}"}]`]],
      ['long bytes that nothing announced', [Buffer.alloc(200 * KIB)]],
      ['long bytes of another event', ['451-/native,1["send_message",{"text":{"_placeholder":true,"num":0}}]', Buffer.alloc(200 * KIB)]],
    ]) {
      const raw = await rawUser(a, unique('mallory'));
      raw.send(...frames);
      await raw.ended();
      assert.equal(raw.closeCode, 1009, what);
    }
    const polling = await Polling.open(a);
    await polling.send(`40/native,${JSON.stringify({ username: unique('mallory') })}`);
    await polling.until(/^40\/native/);
    assert.equal((await polling.post(`42/native,1["send_message",{"text":"${long}"}]`)).status, 413);
  });

  await step('attachments are kept by their number, and need not be used', async () => {
    const raw = await rawUser(a, unique('ann'));
    raw.send(`42/native,1${JSON.stringify(['join', { room }])}`);
    await raw.frame(/^43\/native,1\[/);
    const second = { _placeholder: true, num: 1 };
    raw.send(`452-/native,2${JSON.stringify(['send_image', { room, image: second, new: { _placeholder: true, num: 0 } }])}`);
    raw.send(Buffer.from('unused'), png({ mark: 9 }));
    const answer = await raw.frame(/^43\/native,2\[/);
    const { url } = JSON.parse(answer.slice(answer.indexOf('[')))[0];
    assert.ok((await fetched(b.url + url)).bytes.equals(png({ mark: 9 })));
    raw.send(`451-/native,3${JSON.stringify(['send_image', { room, image: second }])}`, png());
    assert.match(await raw.frame(/^43\/native,3\[/), /"bad_request"/);
  });

  await step('hashes stay in Redis, and bytes are there once', async () => {
    const keys = await redis.command('KEYS', '*:d:*');
    const hashes = keys.map((key) => key.split(':').at(-1));
    assert.ok(hashes.length > 0 && hashes.every((hash) => /^[0-9a-f]{64}$/.test(hash)));
    const seen = JSON.stringify(bob.events);
    assert.ok(hashes.every((hash) => !seen.includes(hash)));
    const one = png({ mark: 77 });
    await ann.ok('send_image', { room, image: one });
    await ann.ok('send_image', { room, image: one });
    assert.equal((await redis.command('KEYS', '*:d:*')).length, keys.length + 1);
  });

  await step('all images together are bounded', async () => {
    let refused;
    for (let mark = 100; mark < 110 && !refused; mark++) {
      const ack = await ann.ask('send_image', { room, image: png({ bytes: MIB, mark }) });
      if (ack.status !== 'ok') refused = ack;
    }
    assertRefusal(refused, 'image_store_full');
    assert.equal(refused.retry_after_ms, 60_000);
    await ann.send(room, 'texts are taken');
  });
});

story('an image is gone with the last message, and has an absolute URL', { timeout: 60_000 }, async () => {
  const flags = ['--history-len', '2', '--history-ttl', '1ms', '--history-cap', '2', '--public-url', 'https://chat.example/rc/'];
  const { gateways: [a, b], redis } = await cluster({ gateways: 2, presence: 0, args: flags });
  const [room, other] = [unique('room'), unique('other')];
  const ann = await connect(a, { name: unique('ann') });
  await ann.join(room);
  await ann.join(other);
  const paths = [];
  for (const place of [room, other]) {
    const { url } = await ann.ok('send_image', { room: place, image: png() });
    assert.match(url, /^https:\/\/chat\.example\/rc\/images\//);
    paths.push(new URL(url).pathname.replace('/rc', ''));
  }
  const status = async (path) => (await request(b.url + path)).status;
  assert.deepEqual(await Promise.all(paths.map(status)), [200, 200]);
  for (let n = 0; n < 2; n++) await ann.send(room, `text ${n}`);
  assert.deepEqual(await Promise.all(paths.map(status)), [404, 200]);
  assert.equal((await redis.command('KEYS', '*:d:*')).length, 1, 'the other message keeps the bytes');
  for (let n = 0; n < 2; n++) await ann.send(other, `text ${n}`);
  assert.deepEqual(await Promise.all(paths.map(status)), [404, 404]);
  for (const kind of ['d', 'r', 'k']) {
    await eventually(async () => (await redis.command('KEYS', `*:${kind}:*`)).length === 0, { what: `no key of kind ${kind}` });
  }
  const policy = (await request(`${a.url}/`)).headers['content-security-policy'];
  assert.match(policy, /img-src 'self' https:\/\/chat\.example /);
});

story('private images', { timeout: 90_000 }, async () => {
  const { gateways: [a, b], redis } = await cluster({ gateways: 2, presence: 1, args: ['--grace', '1s', '--inbox-len', '2'] });
  const as = (name, resume = `the secret of ${name}`) => ({ name, auth: { username: name, resume } });
  const [ann, tab, eve] = [await connect(a, as('ann')), await connect(b, as('ann')), await connect(a, as('eve'))];
  const bob = await connect(b, as('bob'));
  const found = async (client, url, what = 'has the image') => {
    const has = () => client.events.find(({ event, payload }) => event === 'private_message' && payload.image?.url === url);
    return (await eventually(has, { what: () => `${client.name} ${what}` })).payload;
  };
  const status = async (url) => (await request(a.url + url)).status;
  const keys = async (kind) => (await redis.command('KEYS', `*:${kind}:*`)).length;
  let sent;

  await step('both users receive it on all gateways, and nobody else', async () => {
    const image = png({ bytes: 900 * KIB });
    sent = await ann.ok('send_image', { to: 'bob', image, alt: 'a dot', id: 'm1' });
    assert.match(sent.url, /^\/images\/[0-9a-f]{32}$/);
    assert.deepEqual([sent.id, sent.offset, sent.delivered, sent.room], ['m1', 1, true, undefined]);
    for (const client of [ann, tab, bob]) {
      const { user, to, kind, alt, image: { bytes } } = await found(client, sent.url);
      assert.deepEqual({ user, to, kind, alt, bytes }, { user: 'ann', to: 'bob', kind: 'image', alt: 'a dot', bytes: image.length });
    }
    for (const gateway of [a, b]) assert.ok((await fetched(gateway.url + sent.url)).bytes.equals(image));
    assert.ok(!eve.events.some(({ event }) => event === 'private_message'));
    const { messages } = await bob.ok('history', { to: 'ann' });
    assert.deepEqual(messages.map(({ image: { url } }) => url), [sent.url]);
  });

  await step('a repeated id is answered with the first URL', async () => {
    const again = await tab.ok('send_image', { to: 'bob', image: png(), id: 'm1' });
    assert.deepEqual([again.url, again.offset, again.ts], [sent.url, sent.offset, sent.ts]);
    await ann.refused('send_image', { to: 'eve', image: png(), id: 'm1' }, 'id_taken');
    await ann.refused('send_image', { to: 'nobody', image: png() }, 'user_offline');
    assert.equal(await keys('d'), 1, 'what was not sent is not kept');
  });

  await step('whoever has the name next cannot list the message', async () => {
    bob.close();
    const thief = await eventually(async () => {
      try {
        return await connect(a, { ...as('bob', 'another secret'), reconnection: false });
      } catch {
        return undefined;
      }
    });
    assert.deepEqual((await thief.ok('history', { to: 'ann' })).messages, []);
    const { url } = await ann.ok('send_image', { to: 'bob', image: png({ mark: 1 }) });
    await found(thief, url);
    assert.equal((await thief.ok('history', { to: 'ann' })).messages.length, 1);
  });

  await step('it is gone once neither inbox has its message', async () => {
    for (let n = 0; n < 2; n++) await ann.ok('private_message', { to: 'eve', text: `text ${n}` });
    assert.equal(await status(sent.url), 200, 'the former owner of the name has it');
    const { url } = await eve.ok('send_image', { to: 'ann', image: png({ mark: 2 }) });
    await ann.ok('private_message', { to: 'eve', text: 'one' });
    assert.equal(await status(url), 200);
    await ann.ok('private_message', { to: 'eve', text: 'two' });
    assert.equal(await status(url), 404, 'trimmed from both');
    await eventually(async () => (await keys('d')) === 2, { what: 'only the images to the two owners of the name are kept' });
  });
});
