// A real Prometheus of the test's own, configured as deploy/prometheus/prometheus.yml says but for targets
// and durations, and the questions that live.test.mjs asks it.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { eventually, hopeless, scope } from '../../../gateway/tests/e2e/harness.mjs';
import { Child } from '../../../gateway/tests/e2e/processes.mjs';
import { writeRules } from '../rules.mjs';

const CONFIG = fileURLToPath(new URL('../prometheus.yml', import.meta.url));
/** Below the range that the kernel takes ports for outgoing connections from. */
const randomPort = () => 20_000 + Math.floor(Math.random() * 10_000);

/** The file with these targets by job, and scraped so often; `more` are targets of no job of the file. */
function configure(every, targets, more) {
  let text = readFileSync(CONFIG, 'utf8').replaceAll(/(scrape|evaluation)_interval: \w+/g, `$1_interval: ${every}`);
  for (const [job, list] of Object.entries(targets)) {
    const before = text;
    text = text.replace(new RegExp(`(job_name: ${job}\\n(?:.*\\n)*?.*targets: )\\[.*\\]`), `$1${JSON.stringify(list)}`);
    assert.notEqual(text, before, `${CONFIG} has the job ${job}`);
  }
  return more.length > 0 ? `${text}\n  - job_name: more\n    static_configs:\n      - targets: ${JSON.stringify(more)}\n` : text;
}

export async function prometheus({ factor, every = '1s', targets, more = [] }) {
  const dir = mkdtempSync(join(tmpdir(), 'roomcast-prometheus-'));
  scope().defer(() => rmSync(dir, { recursive: true, force: true }));
  writeFileSync(join(dir, 'prometheus.yml'), configure(every, targets, more));
  writeRules(join(dir, 'rules'), factor);
  for (let attempt = 1; ; attempt++) {
    const port = randomPort();
    const child = new Child('prometheus', 'prometheus', [
      `--config.file=${join(dir, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(dir, `data-${attempt}`)}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=warn',
    ]);
    try {
      const url = `http://127.0.0.1:${port}`;
      const ready = async () => (child.running ? (await fetch(`${url}/-/ready`)).ok : hopeless('prometheus ended'));
      await eventually(ready, { what: 'prometheus is ready', timeout: 20_000, every: 100 });
      return new Prometheus(url);
    } catch (error) {
      const taken = child.lines.some(({ text }) => /address already in use/.test(text));
      await child.mayEnd().kill9();
      child.diedAlone = false;
      if (!taken || attempt === 5) throw error;
    }
  }
}

class Prometheus {
  constructor(url) {
    this.url = url;
  }

  async #get(path, parameters) {
    const answer = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const { status, data, error } = await answer.json();
    assert.equal(status, 'success', `${parameters.query}: ${error}`);
    return data.result;
  }

  /** [{metric, value: [time, text]}] at a time in seconds, now where none is given. */
  query(query, time) {
    return this.#get('query', time === undefined ? { query } : { query, time });
  }

  /** [{metric, values: [[time, text], …]}] */
  range(query, start, end, step) {
    return this.#get('query_range', { query, start, end, step });
  }

  /** The alerts that fire, now or at any time since; with `pending`, also those that are about to. */
  async alerts({ since, pending = false } = {}) {
    const series = pending ? 'ALERTS' : 'ALERTS{alertstate="firing"}';
    const ago = since && Math.max(1, Math.ceil(Date.now() / 1000 - since));
    const found = await this.query(since ? `max_over_time(${series}[${ago}s])` : series);
    return found.map(({ metric: { alertname: name, severity, burn, instance } }) => ({ name, severity, burn, instance }));
  }
}
