// What the tests of the host share: scripts in a folder of their own, the host as its users start it, and servers.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const { WebSocketServer } = createRequire(import.meta.url)('ws');
const HOST = fileURLToPath(new URL('../main.mjs', import.meta.url));

/** A folder with these files, gone after the test. */
export function folder(t, files) {
  const path = mkdtempSync(join(tmpdir(), 'roomcast-k6-host-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content);
  return path;
}

/** Starts the host on a script; `until(text)` waits for a text of its log, `ended` for its end. */
export function start(t, script, { env = {}, args = [], files = {} } = {}) {
  const path = folder(t, { 'script.ts': script, ...files });
  const child = spawn(process.execPath, [HOST, 'run', ...args, join(path, 'script.ts')], { cwd: path, env: { ...process.env, ...env } });
  t.after(() => child.kill('SIGKILL'));
  const run = { child, path, stdout: '', stderr: '' };
  let check = () => {};
  for (const name of ['stdout', 'stderr']) {
    child[name].on('data', (chunk) => {
      run[name] += chunk;
      check();
    });
  }
  run.ended = new Promise((resolve) => child.on('close', (code) => resolve({ ...run, code })));
  run.until = (text) => new Promise((resolve, reject) => {
    check = () => run.stderr.includes(text) && resolve();
    check();
    void run.ended.then(() => reject(new Error(`the host ended without saying "${text}":\n${run.stderr}`)));
  });
  return run;
}

/** Runs a script to its end: `{code, stdout, stderr}`, and `summary`, what its handleSummary was given. */
export async function run(t, script, options) {
  const keep = script.includes('handleSummary') ? '' : '\nexport function handleSummary(data) { return { "summary.json": JSON.stringify(data) }; }\n';
  const result = await start(t, script + keep, options).ended;
  let summary;
  try {
    summary = JSON.parse(readFileSync(join(result.path, 'summary.json'), 'utf8'));
  } catch {
    summary = undefined;
  }
  return { ...result, summary };
}

/** An HTTP server on loopback: its address. */
export async function httpServer(t, handler) {
  const server = createServer(handler);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** A WebSocket server on loopback: its address. */
export async function webSocketServer(t, onConnection) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await new Promise((resolve) => server.on('listening', resolve));
  server.on('connection', onConnection);
  t.after(() => {
    server.clients.forEach((client) => client.terminate());
    server.close();
  });
  return `ws://127.0.0.1:${server.address().port}`;
}

/** A script with one scenario; `body` is its default function's. */
export const scenario = (settings, body, more = '') => `
  import { sleep } from 'k6';
  import exec from 'k6/execution';
  import { Counter, Trend } from 'k6/metrics';
  const seen = new Counter('seen');
  const at = new Trend('at');
  export const options = { scenarios: { one: ${JSON.stringify(settings)} } };
  ${more}
  export default function (data: unknown) { ${body} }
`;
/** The value of a counter in the summary of a run. */
export const count = ({ summary }, name) => summary.metrics[name]?.values.count ?? 0;
