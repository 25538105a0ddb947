// A proxy to a gateway that delays WebSockets: they are held until `release` is called, and then every byte is delayed.
// A client that begins with polling stays between its two transports for that long.
import { createConnection, createServer } from 'node:net';

import { scope } from './scope.mjs';

/** Forwards bytes in order, each chunk `delay` ms after it arrived. */
function lag(from, to, delay) {
  from.on('data', (chunk) => setTimeout(() => to.writable && to.write(chunk), delay));
  from.on('close', () => setTimeout(() => to.destroy(), delay));
}

export async function detour(target, { delay }) {
  const open = new Set();
  let release;
  const released = new Promise((resolve) => (release = resolve));
  const server = createServer((near) => {
    const far = createConnection(target.port, '127.0.0.1');
    for (const socket of [near, far]) {
      open.add(socket.setNoDelay());
      socket.on('error', () => {});
      socket.on('close', () => open.delete(socket));
    }
    near.once('data', async (head) => {
      near.pause();
      const websocket = /\r\nupgrade: *websocket/i.test(head.toString('latin1'));
      if (websocket) await released;
      far.write(head);
      lag(near, far, websocket ? delay : 0);
      lag(far, near, websocket ? delay : 0);
      near.resume();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope().defer(() => {
    server.close();
    open.forEach((socket) => socket.destroy());
  });
  return { url: `http://127.0.0.1:${server.address().port}`, label: target.label, release };
}
