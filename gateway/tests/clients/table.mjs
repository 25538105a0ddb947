// The clients of the table: how each is started, what it needs, and what it cannot do by its own fault. Data; read by
// run.mjs and page.mjs.
import { HERE } from './install.mjs';

const IN_AUTH = 'name and secret in `auth`';
const IN_QUERY = 'name and secret in the query, as it has no auth; Engine.IO 3';

/** What is checked of each client over each transport. */
export const CHECKS = ['connects', 'joins', 'is acknowledged', 'receives', 'sends bytes', 'reconnects'];

/** The transports: by polling alone, by WebSocket alone, and what the client does unless it is told otherwise. */
export const TRANSPORTS = { polling: 'polling', websocket: 'websocket', default: undefined };

const javascript = (version, more = {}) => ({
  name: 'socket.io-client (JavaScript)',
  version,
  part: 'javascript',
  command: [process.execPath, [`${HERE}javascript/client.mjs`]],
  needs: IN_AUTH,
  ...more,
  env: { VERSION: version, ...more.env },
});
const old = (version, more = {}) => javascript(version, { needs: IN_QUERY, ...more, env: { AUTH_IN_QUERY: '1', ...more.env } });
const python = (kind, more = {}) => ({
  name: `python-socketio, ${kind} (Python)`,
  version: '5.18.1',
  part: 'python',
  command: [`${HERE}python/.venv/bin/python`, [`${HERE}python/client.py`]],
  env: { KIND: kind },
  needs: IN_AUTH,
  ...more,
});
const java = (version, more) => ({
  name: 'io.socket:socket.io-client (Java)',
  version,
  part: `java-${version}`,
  command: ['java', ['-Xmx64m', '-XX:TieredStopAtLevel=1', '-cp', `${HERE}java/.classes/${version}:${HERE}java/.classes/${version}/*`, 'Client']],
  ...more,
});

export const CLIENTS = [
  old('1.7.4'),
  old('1.7.4', { namespace: '/native', transports: ['default'] }),
  old('2.2.0'),
  old('2.5.0'),
  old('2.5.0', { namespace: '/native', transports: ['default', 'websocket'] }),
  javascript('3.0.5'),
  javascript('3.1.1'),
  javascript('4.8.4'),
  javascript('4.8.4', { namespace: '/native' }),
  javascript('4.8.4', {
    variant: '`retries: 3`',
    env: { OPTIONS: JSON.stringify({ retries: 3, ackTimeout: 4_000 }) },
    offline: true,
    needs: '`ackTimeout`, and an `id` in every `send_message`: a retry is a new packet',
  }),
  javascript('4.8.4', {
    variant: '`tryAllTransports`, where upgrades are refused',
    env: { OPTIONS: JSON.stringify({ transports: ['websocket', 'polling'], tryAllTransports: true }) },
    transports: ['default'],
    upgradesRefused: true,
    needs: 'stays on polling; without the option it tries WebSocket for ever',
  }),
  python('Client'),
  python('AsyncClient'),
  python('SimpleClient', { needs: '`receive(timeout=…)` in a loop; join again at each `welcome`' }),
  java('1.0.2', { needs: IN_QUERY }),
  java('1.0.2', { namespace: '/native', transports: ['default'], needs: IN_QUERY }),
  java('2.1.2', { needs: IN_AUTH }),
  {
    name: 'zishang520/socket.io (Go)',
    version: '3.0.6',
    part: 'go',
    command: [`${HERE}go/.bin/client`, []],
    transports: ['polling', 'websocket'],
    needs: 'transports named: the default order is random and has WebTransport; by polling an emit waits for the poll under way, up to a ping interval',
  },
  {
    name: 'rust_socketio (Rust)',
    version: '0.6.0',
    part: 'rust',
    command: [`${HERE}rust/target/debug/client`, []],
    cannot: { 'sends bytes': 'bytes with an acknowledgement leave as a packet of another type' },
    needs: 'an acknowledgement is in one list more',
  },
];

/** Clients that are refused, which they must be told at once: never connected, and not silent. */
export const REFUSED = [
  javascript('4.8.4', { variant: 'socket.io-msgpack-parser 3.0.2', env: { PARSER: 'msgpack' }, transports: ['polling', 'websocket'] }),
  javascript('4.8.4', { variant: 'without a name', env: { NAME: '' }, transports: ['polling', 'websocket'], why: /username/ }),
];
