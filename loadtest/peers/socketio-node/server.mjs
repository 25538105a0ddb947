// Node Socket.IO behind its classic or its sharded Redis adapter, set up as their documentation shows.
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const { values: flags } = parseArgs({
  options: { adapter: { type: 'string' }, port: { type: 'string' }, redis: { type: 'string' } },
});
const adapters = {
  classic: createAdapter,
  sharded: (pub, sub) => createShardedAdapter(pub, sub, { subscriptionMode: 'dynamic' }),
};

const pub = createClient({ url: flags.redis });
const sub = pub.duplicate();
for (const client of [pub, sub]) client.on('error', (error) => console.error(`redis: ${error.message}`));
await Promise.all([pub.connect(), sub.connect()]);

const http = createServer();
const io = new Server(http, { adapter: adapters[flags.adapter](pub, sub), transports: ['websocket'] });

io.on('connection', (socket) => {
  socket.on('join', async ({ room }, ack) => {
    await socket.join(room);
    ack?.({ status: 'ok' });
  });
  socket.on('send_message', ({ room, text }, ack) => {
    io.to(room).emit('message', { room, text, user: socket.id, ts: Date.now() });
    ack?.({ status: 'ok' });
  });
});

http.listen(Number(flags.port), '127.0.0.1', () => console.log(`listening on 127.0.0.1:${flags.port}`));
