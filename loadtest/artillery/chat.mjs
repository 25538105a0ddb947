// What the flow of chat.yml has no words for: every virtual user counts, by offset, what it receives of its room, and
// waits for the acknowledgement of what it sends. Loaded by Artillery, which passes the connection in `context.sockets`.

const RUN = process.env.RUN ?? Date.now().toString(36);
const ROOMS = Number(process.env.ROOMS ?? 10);
const ACK_TIMEOUT = 10_000;
const STAMP = /^\[(\d+)\]/;

let users = 0;

/** Before the join: which room, and what is counted of it. */
export function listen(context, events, done) {
  const socket = context.sockets[''];
  const count = (name, by) => events.emit('counter', `roomcast.${name}`, by);
  context.vars.room = `artillery-${RUN}-${users++ % ROOMS}`;
  // With 0 once, so that each is in the report, and `ensure` can judge it.
  for (const name of ['deliveries', 'sends', 'unacknowledged', 'missing', 'repeated', 'misordered']) count(name, 0);
  const seen = { epoch: undefined, last: undefined, holes: new Set() };
  context.vars.seen = seen;
  socket.on('message', ({ epoch, offset, text }) => {
    count('deliveries', 1);
    const [, sent] = STAMP.exec(text ?? '') ?? [];
    if (sent !== undefined) events.emit('histogram', 'roomcast.delivery_ms', Date.now() - Number(sent));
    if (seen.last === undefined || epoch !== seen.epoch) {
      if (seen.last !== undefined) count('misordered', 1);
      seen.epoch = epoch;
    } else if (offset > seen.last) {
      for (let hole = seen.last + 1; hole < offset; hole++) seen.holes.add(hole);
    } else {
      return count(seen.holes.delete(offset) ? 'misordered' : 'repeated', 1);
    }
    seen.last = offset;
  });
  done();
}

/** One message, acknowledged. */
export function send(context, events, done) {
  const text = `[${Date.now()}] ${'the quick brown fox jumps over the lazy dog '.repeat(5)}`;
  events.emit('counter', 'roomcast.sends', 1);
  context.sockets[''].timeout(ACK_TIMEOUT).emit('send_message', { room: context.vars.room, text }, (error, ack) => {
    if (error || ack?.status !== 'ok') events.emit('counter', 'roomcast.unacknowledged', 1);
    done();
  });
}

/** At the end: the holes that were never filled. */
export function finish(context, events, done) {
  events.emit('counter', 'roomcast.missing', context.vars.seen.holes.size);
  done();
}
