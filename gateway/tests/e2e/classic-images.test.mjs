// Images in the vocabularies of the classic chats: of private-rooms, which sends them, and of those whose pages show a line.
import assert from 'node:assert/strict';

import { cluster, connect, eventually, scope, step, story, unique } from './harness.mjs';
import { KIB, dataUrl, fetched, png } from './images.mjs';

story('images in the classic vocabularies', { timeout: 60_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 0 });
  const room = unique('ROOM').toUpperCase();
  const nat = await connect(b, { name: 'nat' });
  await nat.join(room);
  const old = async (target, namespace, event, payload) => {
    const client = await connectClassic(target, namespace);
    client.socket.emit(event, payload);
    return client;
  };
  const ann = await old(a, '/private-rooms', 'chat', { event: 'join', user: 'ann', room });
  const ben = await old(b, '/private-rooms', 'chat', { event: 'join', user: 'ben', room });
  const eve = await old(b, '/flask-chat-app', 'join_room', { username: 'eve', room });
  await nat.sees(room, 'ANN', 'BEN', 'eve');
  const told = (client, kind) =>
    eventually(() => client.events.find(({ payload }) => payload.type === kind), { what: `${client.name} is told ${kind}` });

  await step('an image is sent as a data URL and received as a URL', async () => {
    const image = png({ bytes: 900 * KIB });
    ann.socket.emit('chat', { event: 'image', room, bimage: dataUrl(image) });
    const { payload } = await told(ben, 'image');
    assert.deepEqual([payload.from, payload.room], ['ANN', room]);
    assert.match(payload.bimage, /^\/images\/[0-9a-f]{32}$/);
    assert.ok((await fetched(b.url + payload.bimage)).bytes.equals(image));
    await eventually(() => nat.room(room).messages.some(({ kind, image: { url } = {} }) => kind === 'image' && url === payload.bimage));
    const shown = await eventually(() => eve.events.find(({ event }) => event === 'receive_message'), { what: 'eve is shown it' });
    assert.equal(shown.payload.message, payload.bimage);
    assert.ok(!ann.events.some(({ payload: { type } }) => type === 'image'), 'its own page shows it by itself');
  });

  await step('a native image is shown, with its description escaped where pages insert HTML', async () => {
    const ack = await nat.ok('send_image', { room, image: png(), alt: '<b>' });
    await eventually(() => ben.events.some(({ payload }) => payload.bimage === ack.url));
    await eventually(() => eve.events.some(({ payload }) => payload.message === `&lt;b&gt;: ${ack.url}`));
  });

  await step('a private image is for one user alone', async () => {
    const image = png({ mark: 7 });
    ben.events.length = 0;
    ann.socket.emit('chat', { event: 'image', user: 'BEN', room, bimage: dataUrl(image) });
    const { payload } = await told(ben, 'image');
    assert.deepEqual([payload.from, payload.to, payload.room], ['ANN', 'BEN', undefined]);
    assert.ok((await fetched(a.url + payload.bimage)).bytes.equals(image));
    ann.socket.emit('chat', { event: 'image', user: 'NAT', room, bimage: dataUrl(image) });
    const seen = ({ event, payload: { user, to, kind } }) => event === 'private_message' && `${user} ${to} ${kind}` === 'ANN nat image';
    await eventually(() => nat.events.some(seen));
    ann.events.length = 0;
    const { url } = await nat.ok('send_image', { to: 'ANN', image });
    assert.equal((await told(ann, 'image')).payload.bimage, url);
    assert.ok(!nat.room(room).messages.some(({ image: { url: shown } = {} }) => shown === payload.bimage), 'not in the room');
    assert.ok(!JSON.stringify(eve.events).includes(payload.bimage));
    ann.events.length = 0;
    ann.socket.emit('chat', { event: 'image', user: 'NOBODY', room, bimage: dataUrl(image) });
    assert.equal((await told(ann, 'user')).payload.message, 'NOBODY is not online');
  });

  await step('errors are its own, and it stays connected', async () => {
    for (const [bimage, message] of [
      [7, 'bimage is no image: a data URL is expected'],
      [dataUrl(Buffer.from('<svg/>')), 'this is no PNG, JPEG, GIF or WebP'],
      [dataUrl(Buffer.alloc(3_750_000)), 'the image is too large'],
      [dataUrl(png({ width: 60_000, height: 60_000 })), /pixels/],
    ]) {
      ann.events.length = 0;
      ann.socket.emit('chat', { event: 'image', room, bimage });
      const { payload } = await told(ann, 'user');
      if (message instanceof RegExp) assert.match(payload.message, message);
      else assert.equal(payload.message, message);
    }
    ann.socket.emit('chat', { event: 'chat', room, text: 'still here' });
    await eventually(() => ben.events.some(({ payload }) => payload.message === 'still here'));
  });
});

/** A connection without a name that records its events. */
async function connectClassic(target, namespace) {
  const { io } = await import('socket.io-client-3');
  const client = { name: namespace, events: [] };
  client.socket = io(target.url + namespace, { forceNew: true, transports: ['websocket'] });
  client.socket.onAny((event, payload) => client.events.push({ event, payload }));
  scope().defer(() => client.socket.disconnect());
  await eventually(() => client.socket.connected, { what: `${namespace} connects` });
  return client;
}
