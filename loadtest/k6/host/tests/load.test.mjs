// `make load` as far as it needs no cluster: which runner it takes, what it passes on, its exit code, bad input. The k6
// here is a program of ours that says which version it is and writes down what it was called with.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { folder, httpServer } from './harness.mjs';

const LOAD = fileURLToPath(new URL('../../load.mjs', import.meta.url));

/** A PATH whose k6 is this version, and ends a run with this code; without a version there is none. */
function pathWith(t, version, code = 0) {
  const path = folder(t, {});
  if (version !== undefined) {
    const file = join(path, 'k6');
    writeFileSync(file, `#!${process.execPath}
      const fs = require('node:fs');
      if (process.argv[2] === 'version') { console.log(${JSON.stringify(version)}); process.exit(0); }
      const { BASE_URL, OUT, VUS, K6_NO_USAGE_REPORT } = process.env;
      fs.writeFileSync(OUT + '/called.json', JSON.stringify({ args: process.argv.slice(2), env: { BASE_URL, VUS, K6_NO_USAGE_REPORT } }));
      process.exit(${code});`);
    chmodSync(file, 0o755);
  }
  return path;
}

/** Runs load.mjs; no variable of the environment but these reaches it. */
function load(t, env, args = []) {
  const out = folder(t, {});
  const child = spawn(process.execPath, [LOAD, ...args], { env: { OUT: out, ...env } });
  t.after(() => child.kill('SIGKILL'));
  const result = { out, stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) child[name].on('data', (chunk) => (result[name] += chunk));
  return new Promise((resolve) => child.on('close', (code) => resolve({ ...result, code })));
}

/** What looks like a Roomcast over long-polling, or like another Socket.IO server; its answer to the connect packet. */
function chat(t, answer) {
  return httpServer(t, (request, response) => {
    if (request.method === 'POST') return response.end('ok');
    return response.end(request.url.includes('sid=') ? answer : OPEN);
  });
}
const OPEN = '0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}';
const WELCOME = '40/native,{"sid":"b"}\x1e42/native,["welcome",{"user":"x"}]';

test('k6 on the PATH runs the scenario, whichever major it is, and its exit code is the result', async (t) => {
  const URL = await chat(t, WELCOME);
  for (const [version, said] of [['k6 v1.6.0 (go1.25.3, linux/amd64)', 'k6 1.6.0'], ['k6 v2.3.0 (commit/0000000000, go1.26.1, linux/arm64)', 'k6 2.3.0']]) {
    const { code, stdout, stderr, out } = await load(t, { PATH: pathWith(t, version, 99), URL: `${URL}/`, SCENARIO: 'smoke', VUS: '3' });
    assert.equal(code, 99, stderr);
    assert.match(stdout, new RegExp(`scenario smoke against ${URL}, run by ${said} `));
    assert.match(stdout, /results: [\s\S]*called\.json/);
    const { args, env } = JSON.parse(readFileSync(join(out, 'called.json'), 'utf8'));
    assert.equal(args.length, 2);
    assert.equal(args[0], 'run');
    assert.match(args[1], /scenarios\/smoke\.ts$/);
    assert.deepEqual(env, { BASE_URL: URL, VUS: '3', K6_NO_USAGE_REPORT: 'true' });
  }
});

test('a k6 that is too old, too new or none at all', async (t) => {
  const URL = await chat(t, WELCOME);
  const cases = [
    ['k6 v1.5.0 (go1.25)', /^k6 1\.5\.0 \(.*\) is too old: 1\.6 or newer is needed, or RUNNER=host\n$/],
    ['k6 v0.57.0 (go1.23)', /^k6 0\.57\.0 .* is too old/],
    ['k6 v3.0.0 (go1.30)', /^k6 3\.0\.0 .* is newer than these scripts know/],
    ['something else', /does not say which version it is\n$/],
  ];
  for (const [version, text] of cases) {
    const { code, stdout, stderr, out } = await load(t, { PATH: pathWith(t, version), URL });
    assert.equal(code, 2, version);
    assert.match(stderr, text);
    assert.equal(stderr.trim().split('\n').length, 1);
    assert.equal(stdout, '');
    assert.ok(!existsSync(join(out, 'called.json')));
  }
  const { code, stderr } = await load(t, { PATH: pathWith(t), URL, RUNNER: 'k6' });
  assert.equal(code, 2);
  assert.match(stderr, /^RUNNER=k6: there is no k6 on the PATH\n$/);
});

/** Lets one user in, and refuses the next. */
async function chatThatRefusesTheSecond(t) {
  let users = 0;
  return httpServer(t, (request, response) => {
    if (request.method === 'POST') return response.end('ok');
    if (!request.url.includes('sid=')) return response.end(OPEN);
    users += 1;
    return response.end(users === 1 ? WELCOME : '44/native,{"message":"busy","data":{"code":"busy","message":"Too many."}}');
  });
}

test('without a k6, or with RUNNER=host, the host runs it', async (t) => {
  for (const [version, env] of [[undefined, {}], ['k6 v1.0.0', { RUNNER: 'host' }]]) {
    const URL = await chatThatRefusesTheSecond(t);
    const { code, stdout, stderr } = await load(t, { PATH: pathWith(t, version), URL, SCENARIO: 'smoke', ...env });
    assert.match(stdout, /scenario smoke against .*, run by the host of loadtest\/k6/);
    assert.equal(code, 108, stderr);
    assert.match(stderr, /it is not k6[\s\S]*it refuses the user .*: busy: Too many\./);
  }
});

test('bad input: one line, exit code 2, and nothing is run', async (t) => {
  const PATH = pathWith(t, 'k6 v2.0.0');
  const silent = await httpServer(t, (request, response) => response.writeHead(404).end('nothing here'));
  const cases = [
    [{ SCENARIO: 'absent' }, /^SCENARIO=absent: there is no such scenario; there are .*chat.*smoke/],
    [{ SCENARIO: '../settings' }, /no such scenario/],
    [{ URL: 'nowhere' }, /^URL=nowhere: expected http/],
    [{ BASE_URL: 'http://127.0.0.1:1/path' }, /expected http/],
    [{ RUNNER: 'other' }, /^RUNNER=other: expected k6 or host/],
    [{ URL: 'http://127.0.0.1:1' }, /^BASE_URL=http:\/\/127\.0\.0\.1:1: no answer \(.*\)/],
    [{ URL: silent }, /no Socket\.IO server answers there \(status 404\)/],
    [{ URL: await chat(t, '44/native,{"message":"Invalid namespace"}') }, /no Roomcast: Invalid namespace/],
    [{ URL: await chat(t, '40/native,{"sid":"b"}') }, /no Roomcast/],
    [{ URL: await chat(t, '44/native,{"message":"unauthorized","data":{"code":"unauthorized","message":"A token is needed."}}') }, /it refuses the user \S+: unauthorized: A token is needed/],
    [{ URL: await chat(t, WELCOME), VUS: 'many' }, /^VUS=many: expected a whole number/],
  ];
  for (const [env, text] of cases) {
    const { code, stderr, out } = await load(t, { PATH, ...env });
    assert.equal(code, 2, stderr);
    assert.match(stderr, text);
    assert.equal(stderr.trim().split('\n').length, 1, stderr);
    assert.ok(!existsSync(join(out, 'called.json')));
  }
});

test('a cluster that cannot start: one line, exit code 2', async (t) => {
  const { port } = new URL(await httpServer(t, (request, response) => response.end()));
  const { code, stderr } = await load(t, { PATH: pathWith(t, 'k6 v2.0.0'), PORT: port });
  assert.equal(code, 2);
  assert.match(stderr, new RegExp(`^the cluster did not start: Port ${port} \\(balancer\\) is taken\\. [^\\n]*\\n$`));
});

test('--check judges the settings and runs nothing', async (t) => {
  const PATH = pathWith(t, 'k6 v2.0.0');
  const { code, stdout, out } = await load(t, { PATH }, ['--check']);
  assert.equal(code, 0);
  assert.equal(stdout, '');
  assert.ok(!existsSync(join(out, 'called.json')));
  assert.equal((await load(t, { PATH, SCENARIO: 'absent' }, ['--check'])).code, 2);
});
