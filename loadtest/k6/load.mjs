// `make load`: one scenario, by k6 or by the host beside this file, against URL or a cluster on this machine, which it
// starts and stops. Called by tools/load. `--check` only judges the settings, all of which are environment variables:
//
//   SCENARIO   a file of scenarios/, chat if not given
//   URL        where the chat is (or BASE_URL, its name in the scripts); without it, a cluster is started, on the ports
//              that deploy/cluster/run.mjs names
//   RUNNER     k6 or host; without it, k6 where it is on the PATH
//   OUT        the folder for report, summary and the cluster's log; without it, a new one in results/
//
// Every other variable (VUS, SOCKETS, RATE, ROOMS, DURATION, TOKEN, …) is the script's. Ends with the runner's exit code;
// with 2 where the settings are wrong or no chat answers.
import { spawn, spawnSync } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { constants } from 'node:os';
import { basename, delimiter, join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const HOST = join(HERE, 'host/main.mjs');
const CLUSTER = fileURLToPath(new URL('../../deploy/cluster/run.mjs', import.meta.url));
const OLDEST_K6 = [1, 6];
const NEWEST_MAJOR = 2;
const WRONG = 2;
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path));

class Mistake extends Error {}

class Interrupted extends Error {
  constructor(signal) {
    super(signal);
    this.code = 128 + constants.signals[signal];
  }
}

/** What a signal does: at first, nothing is running. */
let onSignal = (signal) => process.exit(128 + constants.signals[signal]);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => onSignal(signal));

/** The scenario's file. */
function scenario() {
  const name = process.env.SCENARIO || 'chat';
  const folder = join(HERE, 'scenarios');
  const names = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.ts')).map((file) => basename(file, '.ts')) : [];
  if (names.includes(name)) return { name, file: join(folder, `${name}.ts`) };
  throw new Mistake(`SCENARIO=${name}: there is no such scenario; there are ${names.sort().join(', ')}`);
}

function onPath(program) {
  return (process.env.PATH ?? '').split(delimiter).filter(Boolean).map((folder) => join(folder, program)).find((path) => existsSync(path));
}

/** What runs the script: `{said, command, args}`. */
function runner() {
  const asked = process.env.RUNNER || undefined;
  if (asked !== undefined && !['k6', 'host'].includes(asked)) throw new Mistake(`RUNNER=${asked}: expected k6 or host`);
  const k6 = asked === 'host' ? undefined : onPath('k6');
  if (k6) return { said: `k6 ${versionOf(k6)} (${k6})`, command: k6, args: ['run'] };
  if (asked === 'k6') throw new Mistake('RUNNER=k6: there is no k6 on the PATH');
  const said = 'the host of loadtest/k6 (for small runs: there is no k6 on the PATH)';
  return { said: asked === 'host' ? 'the host of loadtest/k6 (for small runs)' : said, command: process.execPath, args: [HOST, 'run'] };
}

function versionOf(k6) {
  const { stdout, error } = spawnSync(k6, ['version'], { encoding: 'utf8', timeout: 10_000 });
  const [, major, minor, rest] = /k6(?:\.exe)? v(\d+)\.(\d+)(\.[\w.-]+)?/.exec(stdout ?? '') ?? [];
  if (major === undefined) throw new Mistake(`${k6} does not say which version it is${error ? `: ${error.message}` : ''}`);
  const version = `${major}.${minor}${rest ?? ''}`;
  const [oldest, least] = OLDEST_K6;
  if (Number(major) < oldest || (Number(major) === oldest && Number(minor) < least)) {
    throw new Mistake(`k6 ${version} (${k6}) is too old: ${OLDEST_K6.join('.')} or newer is needed, or RUNNER=host`);
  }
  if (Number(major) > NEWEST_MAJOR) throw new Mistake(`k6 ${version} (${k6}) is newer than these scripts know: up to ${NEWEST_MAJOR}.x, or RUNNER=host`);
  return version;
}

function givenUrl() {
  const text = process.env.URL || process.env.BASE_URL || undefined;
  if (text !== undefined && !/^https?:\/\/[^/?#\s@]+\/?$/.test(text)) throw new Mistake(`URL=${text}: expected http:// or https://, a host, and no path`);
  return text?.replace(/\/$/, '');
}

/** Ends with one line where a setting is out of range or no Roomcast answers: the scripts' own probe says so. */
function probe(url) {
  const script = join(HERE, 'lib/answers.ts');
  const { status, stderr } = spawnSync(process.execPath, [HOST, 'run', '--quiet', script], { encoding: 'utf8', env: { ...process.env, BASE_URL: url } });
  if (status === 0) return;
  const line = stderr.split('\n').find((each) => each.startsWith('ERRO')) ?? stderr;
  throw new Mistake(line.replace(/^ERRO\[\d+\] (test aborted: |Error: )?/, ''));
}

/** A new folder, or the one that was asked for. */
function results(name) {
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
  const folder = resolve(process.env.OUT || join(HERE, 'results', `${name}-${stamp}`));
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Starts a process that ends with this one, also where this one is killed. */
function start(command, args, options) {
  return SETPRIV ? spawn(SETPRIV, ['--pdeathsig', 'TERM', command, ...args], options) : spawn(command, args, options);
}

/** A cluster on this machine: its URL, and how to stop it. Its log goes to a file. */
async function startCluster(folder) {
  const port = process.env.PORT || '8080';
  const log = join(folder, 'cluster.log');
  console.log(`==> starting a cluster on this machine; its log is ${relative('', log)}`);
  // In a process group of its own: Ctrl-C is for the runner first.
  const child = start(process.execPath, [CLUSTER], { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let interrupted;
  onSignal = (signal) => {
    interrupted = signal;
    child.kill('SIGTERM');
  };
  const file = createWriteStream(log);
  const ended = new Promise((done) => child.once('exit', done));
  // Its processes' lines are on standard output, its own complaints on standard error.
  const complaints = [];
  const up = new Promise((done) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      file.write(`${line}\n`);
      if (line.startsWith('The cluster is up')) done();
    });
    createInterface({ input: child.stderr }).on('line', (line) => {
      file.write(`${line}\n`);
      if (line.trim() !== '') complaints.push(line.trim());
    });
    child.once('close', done);
  }).then(() => {
    if (interrupted) throw new Interrupted(interrupted);
    if (complaints.length > 0 || child.exitCode !== null) throw new Mistake(`the cluster did not start: ${complaints[0] ?? 'see its log'}`);
  });
  const stop = () => {
    onSignal = () => child.kill('SIGTERM');
    child.kill('SIGTERM');
    return ended;
  };
  process.once('exit', () => child.kill('SIGTERM'));
  return { url: `http://127.0.0.1:${port}`, up, stop };
}

/** Runs the script. Ctrl-C in a terminal reaches the runner by itself; any other signal is passed on. */
function run({ command, args }, file, env) {
  const child = start(command, [...args, file], { stdio: 'inherit', env: { ...process.env, ...env } });
  onSignal = (signal) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('exit', (code, signal) => done(code ?? 128 + constants.signals[signal]));
  });
}

async function load() {
  const chosen = scenario();
  const program = runner();
  const given = givenUrl();
  if (process.argv.includes('--check')) return 0;
  if (given) probe(given);
  const folder = results(chosen.name);
  const cluster = given ? undefined : await startCluster(folder);
  try {
    await cluster?.up;
    const url = given ?? cluster.url;
    console.log(`==> scenario ${chosen.name} against ${url}, run by ${program.said}`);
    return await run(program, chosen.file, { BASE_URL: url, OUT: folder, K6_NO_USAGE_REPORT: 'true' });
  } finally {
    await cluster?.stop();
    console.log(`==> results: ${relative('', folder) || '.'}${readdirSync(folder).map((name) => `\n    ${name}`).join('')}`);
  }
}

try {
  process.exitCode = await load();
} catch (error) {
  if (!(error instanceof Mistake || error instanceof Interrupted)) throw error;
  console.error(error.message);
  process.exitCode = error.code ?? WRONG;
}
