#!/usr/bin/env node
// A small host for k6 scripts, for tests and small runs on machines without k6: `node host/main.mjs run script.ts`. Runs
// the same files as k6 and ends with k6's exit codes; a fraction of k6's speed, and only the part of its API that
// surface.mjs names. Flags as those of `k6 run`:
//
//   -e, --env NAME=VALUE   a variable in __ENV, beside those of the environment
//   -u, --vus N            instead of the script's scenarios, as in k6; with -d, --duration or -i, --iterations
//   -q, --quiet            no progress
//   --threads N            VUs have threads of their own up to this number (8), and share them beyond it
//   --version              what this is
import { mkdirSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { clock } from './durations.mjs';
import { EXIT } from './errors.mjs';
import { Run } from './run.mjs';

const VERSION = 'Roomcast script host, for tests and small runs; it is not k6';
const FLAGS = {
  env: { type: 'string', short: 'e', multiple: true, default: [] },
  vus: { type: 'string', short: 'u' },
  duration: { type: 'string', short: 'd' },
  iterations: { type: 'string', short: 'i' },
  quiet: { type: 'boolean', short: 'q', default: false },
  threads: { type: 'string', default: '8' },
  version: { type: 'boolean', default: false },
};
const PROGRESS_EVERY_MS = 5_000;

function usage(text) {
  console.error(text);
  process.exit(EXIT.invalidConfig);
}

function number(text, name) {
  const value = Number(text);
  return Number.isInteger(value) && value > 0 ? value : usage(`--${name} is a whole number, not ${text}`);
}

function settings() {
  let parsed;
  try {
    parsed = parseArgs({ options: FLAGS, allowPositionals: true });
  } catch (error) {
    return usage(error.message);
  }
  const { values, positionals: [command, script, ...rest] } = parsed;
  if (values.version) {
    console.log(VERSION);
    process.exit(0);
  }
  if (command !== 'run' || !script || rest.length > 0) return usage('usage: main.mjs run [flags] script.ts');
  const env = { ...process.env };
  for (const pair of values.env) {
    const at = pair.indexOf('=');
    if (at < 1) return usage(`--env is NAME=VALUE, not ${pair}`);
    env[pair.slice(0, at)] = pair.slice(at + 1);
  }
  const overrides = {};
  if (values.vus) overrides.vus = number(values.vus, 'vus');
  if (values.iterations) overrides.iterations = number(values.iterations, 'iterations');
  if (values.duration) overrides.duration = values.duration;
  return {
    script,
    env,
    quiet: values.quiet,
    threads: number(values.threads, 'threads'),
    overrides: Object.keys(overrides).length > 0 ? overrides : undefined,
  };
}

/** Where a run writes: progress and log to standard error, the summary's files to where it says. */
function output(quiet) {
  const started = Date.now();
  let shown = 0;
  return {
    log(level, text, source) {
      const seconds = String(Math.floor((Date.now() - started) / 1_000)).padStart(4, '0');
      process.stderr.write(`${level.toUpperCase().slice(0, 4)}[${seconds}] ${text}${source ? `  source=${source}` : ''}\n`);
    },
    progress({ elapsedMs, totalMs, vus, active, completed, interrupted }) {
      if (quiet || Date.now() - shown < PROGRESS_EVERY_MS) return;
      shown = Date.now();
      process.stderr.write(`running (${clock(elapsedMs)} of ${clock(totalMs)}), ${active}/${vus} VUs, ${completed} complete and ${interrupted} interrupted iterations\n`);
    },
    write(name, content) {
      if (name === 'stdout' || name === 'stderr') {
        process[name].write(content);
        return;
      }
      mkdirSync(dirname(name), { recursive: true });
      writeFileSync(name, content);
    },
  };
}

const { quiet, ...given } = settings();
if (!quiet) console.error(VERSION);
const run = new Run(given, output(quiet));
let signals = 0;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    signals += 1;
    if (signals > 1) process.exit(128 + constants.signals[signal]);
    run.abort(EXIT.externalAbort, `${signal}: ending the iterations; once more to end at once`);
  });
}
process.exitCode = await run.execute();
