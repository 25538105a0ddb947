// One JavaScript client: joins the room at each connect and does what is said there (see ../run.mjs). VERSION is the
// client's; AUTH_IN_QUERY is set for those before 3.0; OPTIONS are further options as JSON; PARSER is msgpack or unset.
// With OFFLINE it sends a message as soon as its connection is lost.
import { createRequire } from 'node:module';

const { URL: url, NAME, RESUME, ROOM, TRANSPORTS, VERSION, AUTH_IN_QUERY, OPTIONS, PARSER, OFFLINE } = process.env;
const require = createRequire(import.meta.url);
const library = require(VERSION === '4.8.4' ? 'socket.io-client' : `socket.io-client-${VERSION}`);
const io = library.io ?? library;

const print = (line) => console.log(JSON.stringify(line));
const auth = { username: NAME, resume: RESUME };
const socket = io(url, {
  ...(TRANSPORTS && { transports: TRANSPORTS.split(',') }),
  ...(NAME && (AUTH_IN_QUERY ? { query: auth } : { auth })),
  ...(PARSER === 'msgpack' && { parser: require('socket.io-msgpack-parser') }),
  ...JSON.parse(OPTIONS ?? '{}'),
});
const transport = () => socket.io.engine?.transport?.name;

const send = (text, more = {}) =>
  socket.emit('send_message', { room: ROOM, text, ...more }, (...args) => {
    // With `retries` or `ackTimeout` an error comes first.
    const [error, ack] = args.length > 1 ? args : [null, args[0]];
    print({ event: 'acked', text, status: ack?.status ?? String(error), code: ack?.code });
  });

socket.on('connect', () => {
  print({ event: 'connect', transport: transport() });
  socket.emit('join', { room: ROOM }, (...args) => print({ event: 'joined', status: args.at(-1)?.status, transport: transport() }));
});
socket.on('welcome', ({ node }) => print({ event: 'welcome', node }));
socket.on('message', ({ user, text }) => {
  if (user === NAME) return;
  print({ event: 'message', text, transport: transport() });
  const [, what, say] = text.match(/^(say|bytes) (.*)/) ?? [];
  if (what) send(say, what === 'bytes' ? { attachment: Buffer.alloc(200, 7) } : OFFLINE ? { id: say } : {});
});
socket.on('disconnect', (why) => {
  print({ event: 'disconnect', why });
  if (OFFLINE) send(OFFLINE, { id: OFFLINE });
});
const refused = (error) => print({ event: 'refused', why: error?.message ?? JSON.stringify(error), data: error?.data });
socket.on('connect_error', refused);
socket.on('error', refused);
