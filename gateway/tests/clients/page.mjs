// docs/CLIENTS.md, from what became of each client. Called by run.mjs.
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { CHECKS, CLIENTS, TRANSPORTS } from './table.mjs';

const PAGE = fileURLToPath(new URL('../../../docs/CLIENTS.md', import.meta.url));
const HEADINGS = { polling: 'Polling', websocket: 'WebSocket', default: 'Its default' };

/** A cell: all six checks, or those that do not hold. */
function cell(run, failures) {
  if (!run) return '–';
  if (failures[run.client.part]) return 'not installed';
  const failed = CHECKS.filter((check) => run.results[check] !== undefined && run.results[check] !== true);
  if (failed.length > 0) return `**fails**: ${failed.join(', ')}`;
  const cannot = Object.keys(run.client.cannot ?? {});
  return cannot.length > 0 ? `all but ${cannot.join(', ')}` : 'all';
}

function row(client, runs, failures) {
  const of = (transport) => runs.find((run) => run.client === client && run.transport === transport);
  const name = [client.name, client.variant, client.namespace && `namespace \`${client.namespace}\``].filter(Boolean).join(', ');
  const faults = Object.entries(client.cannot ?? {}).map(([check, why]) => `${check}: ${why}`);
  const needs = [client.needs, ...faults].filter(Boolean).join('; ');
  const cells = failures[client.part]
    ? Object.keys(TRANSPORTS).map(() => 'not installed')
    : Object.keys(TRANSPORTS).map((transport) => cell(of(transport), failures));
  return `| ${name} | ${client.version} | ${cells.join(' | ')} | ${needs} |`;
}

export async function writePage({ runs, refused, failures }) {
  const git = (...args) => execFileSync('git', args, { encoding: 'utf8' }).trim();
  const clients = [...new Set([...CLIENTS, ...runs.map(({ client }) => client)])];
  const lines = [
    '# Clients',
    '',
    '<!-- written by `make clients`; do not edit -->',
    '',
    `Run on ${new Date().toISOString().slice(0, 10)} with \`make clients\`, at ${git('rev-parse', '--short', 'HEAD')}: each client as it is published, against two gateways`,
    'that share a Redis, behind HAProxy without sticky sessions. Six things are checked over each transport: it',
    `${CHECKS.slice(0, -1).join(', ')}, and ${CHECKS.at(-1)} after its`,
    'gateway was killed, to join and send again. "Its default" is the transports that a client chooses by itself. – means not',
    'run. No client sends `since` by itself, and none but `SimpleClient` needs more for a reconnect than to join in its',
    '`connect` handler.',
    '',
    `| Client | Version | ${Object.values(HEADINGS).join(' | ')} | What it needs |`,
    '|---|---|---|---|---|---|',
    ...clients.map((client) => row(client, runs, failures)),
    '',
    '## Refused',
    '',
    '| Client | Transport | What it is told |',
    '|---|---|---|',
    ...refused.map(
      ({ client, transport, results, told }) =>
        `| ${client.name} ${client.version}, ${client.variant} | ${transport} | ${results.refused === true ? `\`${told.replaceAll('|', '\\|').replaceAll('`', '')}\`` : '**fails**'} |`,
    ),
    '',
    'The msgpack parser sends packets that only a server with the same parser understands: use the default one.',
    '',
    '## What does not work as it is',
    '',
    '- **laravel-echo 2.5.0** has no acknowledgements and events of its own (`subscribe`, `client event`), and its `auth` has',
    '  no `username`: it is refused, with `data.message` saying so. Use the client underneath, `Echo.connector.socket`.',
    '- **@feathersjs/socketio-client 5.0.50** expects acknowledgements whose first argument is an error; an answer of this',
    '  server is taken for one.',
    '- **socketIO-client 0.7.2** (Python, not python-socketio) speaks an older protocol: it fails on the open packet of every',
    '  server since socket.io 2.0. Use python-socketio.',
    '',
  ];
  await writeFile(PAGE, lines.join('\n'));
}
