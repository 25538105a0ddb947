// An official client sends what was emitted while it was offline before the application can join again. It is
// stored, also on another gateway, with the client's `retries` option and without it.
import assert from 'node:assert/strict';

import { cluster, connect, eventually, story, unique } from './harness.mjs';

for (const options of [{}, { retries: 3, ackTimeout: 5_000 }]) {
  story(`what was emitted while offline is stored: ${JSON.stringify(options)}`, {}, async () => {
    const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1 });
    const room = unique('offline');
    const bob = await connect(b);
    await bob.join(room);
    const ann = await connect(a, { name: unique('ann'), rejoin: true, resume: 'of ann', reconnectionDelay: 50, ...options });
    await ann.join(room);

    const texts = [];
    for (const [round, gateway] of [a, b, a].entries()) {
      await bob.sees(room, ann.name);
      ann.socket.io.uri = gateway.url;
      ann.cut();
      await eventually(() => !ann.socket.connected, { what: 'the connection is lost' });
      const answers = ['x', 'y', 'z'].map((letter) => {
        const text = `${letter} of round ${round}`;
        texts.push(text);
        return new Promise((resolve) => {
          // With `retries`, an error comes first.
          ann.socket.emit('send_message', { room, text, id: text }, (...answer) => resolve(answer.at(-1)));
        });
      });
      for (const answer of await Promise.all(answers)) assert.equal(answer.status, 'ok', JSON.stringify(answer));
      await eventually(() => ann.joins.length === round + 2, { what: 'it joins again' });
      assert.equal(ann.joins.at(-1).recovered, true);
    }
    for (const client of [bob, ann]) {
      await client.has(room, texts.length);
      assert.deepEqual(client.room(room).texts, texts, 'each once, in order');
    }
    assert.deepEqual(bob.room(room).told('left', ann.name), [], 'it never left');
  });
}
