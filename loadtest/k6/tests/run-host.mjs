// Runs a script on the host, as `make load` does, and returns what came of it.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('..', import.meta.url));

/** `{code, output, summary, page}`; the run is killed at the deadline, and its folder removed. */
export async function runScript(script, env, { timeout = 60_000 } = {}) {
  const out = await mkdtemp(join(tmpdir(), 'roomcast-k6-'));
  try {
    const inherited = { PATH: process.env.PATH, HOME: process.env.HOME };
    const child = spawn(process.execPath, [join(FOLDER, 'host/main.mjs'), 'run', '--quiet', join(FOLDER, script)], {
      cwd: FOLDER,
      env: { ...inherited, OUT: out, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout,
      killSignal: 'SIGKILL',
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
    const code = await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve(code ?? signal));
    });
    const read = (name) => (existsSync(join(out, name)) ? readFileSync(join(out, name), 'utf8') : undefined);
    const summary = read('summary.json');
    return { code, output, summary: summary && JSON.parse(summary), page: read('report.html') };
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

/** The value of a counter in a summary; 0 if it has none. */
export const count = (summary, metric) => summary?.metrics.find((row) => row.metric === metric)?.values.count ?? 0;
