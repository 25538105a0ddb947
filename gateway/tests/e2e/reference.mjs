// The reference: socket.io as it is published, with as much of the chat as the cases of the protocols need. They run
// against it, too, which proves that they are right.
import { createServer } from 'node:http';
import { Server } from 'socket.io';

import { scope } from './scope.mjs';

/** Serves `/` and `/native` until the end of the story. */
export async function reference({ pingInterval = 25_000, pingTimeout = 20_000, oldClients = false } = {}) {
  const server = createServer();
  const io = new Server(server, {
    allowEIO3: oldClients,
    connectTimeout: 1_000,
    maxHttpBufferSize: 131_072,
    pingInterval,
    pingTimeout,
  });
  for (const name of ['/', '/native']) {
    const namespace = io.of(name);
    namespace.use(({ handshake }, next) =>
      next(handshake.auth.username || handshake.query.username ? undefined : new Error('bad_request')),
    );
    namespace.on('connection', (socket) => {
      socket.emit('welcome', {});
      // The acknowledgement comes after all arguments, if it is wanted.
      socket.on('join', ({ room }, ...more) => {
        socket.join(room);
        if (typeof more.at(-1) === 'function') more.at(-1)({ status: 'ok', room });
      });
      socket.on('send_message', ({ room, text }) => namespace.to(room).emit('message', { room, text }));
    });
  }
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope().defer(() => new Promise((resolve) => io.close(resolve)));
  return { url: `http://127.0.0.1:${server.address().port}` };
}
