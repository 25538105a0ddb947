// Artillery's Socket.IO engine against a cluster: two virtual users of one scenario. Its table row has no bytes and no
// reconnect: a scenario has no words for them. Called by run.mjs.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { unique } from '../e2e/harness.mjs';
import { HERE } from './install.mjs';

const TIMEOUT = 60_000;

const scenario = (url, room) => ({
  config: {
    target: url,
    phases: [{ duration: 1, arrivalCount: 2 }],
    // All virtual users have this name: its `query` and `auth` are not templates.
    socketio: { transports: ['websocket'], auth: { username: unique('artillery'), resume: 'a secret' } },
  },
  scenarios: [
    {
      engine: 'socketio',
      flow: [
        // `acknowledge` is beside `emit`: inside, it is ignored without a word.
        { emit: { channel: 'join', data: { room } }, acknowledge: { match: { json: '$.0.status', value: 'ok' } } },
        { emit: { channel: 'send_message', data: { room, text: 'hello' } }, acknowledge: { match: { json: '$.0.status', value: 'ok' } } },
        { emit: { channel: 'send_message', data: { room, text: 'again' } }, response: { channel: 'message', match: { json: '$.0.room', value: room } } },
      ],
    },
  ],
});

/** A run as those of the other clients: its label and what became of each check. */
export async function artillery(address, observer) {
  const run = {
    label: 'artillery 2.0.21 websocket',
    transport: 'websocket',
    client: {
      name: 'Artillery, engine `socketio`',
      version: '2.0.21',
      transports: ['websocket'],
      needs: '`acknowledge` beside `emit`; a time limit around the run, as a missing acknowledgement does not end it',
      cannot: { 'sends bytes': 'a scenario has no bytes', reconnects: 'a virtual user ends with its connection' },
    },
    results: {},
  };
  const [folder, room] = [await mkdtemp(join(tmpdir(), 'roomcast-artillery-')), unique('artillery')];
  try {
    await observer.join(room);
    const [script, report] = [join(folder, 'scenario.json'), join(folder, 'report.json')];
    await writeFile(script, JSON.stringify(scenario(address.url, room)));
    const env = { ...process.env, ARTILLERY_DISABLE_TELEMETRY: 'true', DO_NOT_TRACK: '1', HOME: folder };
    const said = await new Promise((resolve) => {
      const args = ['node_modules/artillery/bin/run', 'run', '--quiet', '--output', report, script];
      execFile(process.execPath, args, { cwd: `${HERE}artillery`, timeout: TIMEOUT, env }, (error, out, err) =>
        resolve(`${error ?? ''}\n${out}\n${err}`),
      );
    });
    const counters = await readFile(report, 'utf8').then(
      (text) => JSON.parse(text).aggregate.counters,
      () => ({}),
    );
    const texts = observer.room(room).texts;
    const shown = `${JSON.stringify(counters)} ${said.trim().slice(-400)}`;
    const holds = (check, fact) => (run.results[check] = fact || shown);
    holds('connects', counters['vusers.created'] === 2 && !Object.keys(counters).some((name) => name.startsWith('errors.')));
    holds('joins', texts.length > 0);
    holds('is acknowledged', texts.filter((text) => text === 'again').length === 2);
    holds('receives', counters['vusers.completed'] === 2 && !counters['vusers.failed']);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return run;
}
