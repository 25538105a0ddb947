// What needs no cluster: rules and dashboards are well formed, each alert has its scenario and its section
// in docs/OPERATIONS.md, and the scenarios come true. live.test.mjs does the rest.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { parse } from 'yaml';

import { DASHBOARDS } from '../../grafana/dashboards.mjs';
import { alerts, writeRules, yamlFile } from '../rules.mjs';
import { queries } from './queries.mjs';
import { fired, testFile } from './scenarios.mjs';

const PROMETHEUS = fileURLToPath(new URL('..', import.meta.url));
const TOP = fileURLToPath(new URL('../../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'roomcast-rules-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));

/** Fails with what promtool says. */
function promtool(...args) {
  try {
    return execFileSync('promtool', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    throw new Error(`promtool ${args.join(' ')}\n${error.stdout}${error.stderr}`);
  }
}
const write = (name, text) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

test('the configuration and the rules are valid, also with shortened durations', () => {
  promtool('check', 'config', join(PROMETHEUS, 'prometheus.yml'));
  const names = readdirSync(join(PROMETHEUS, 'rules'));
  promtool('check', 'rules', ...names.map((name) => join(PROMETHEUS, 'rules', name)));
  writeRules(join(folder, 'short'), 1 / 60);
  promtool('check', 'rules', ...names.map((name) => join(folder, 'short', name)));
});

test('the scenarios come true', () => {
  const rules = ['slo.yaml', 'alerts.yaml'].map((name) => join(PROMETHEUS, 'rules', name));
  promtool('test', 'rules', write('scenarios.yaml', testFile(rules)));
});

test('every alert says what a person needs, and has a scenario and a section in OPERATIONS.md', () => {
  const sections = [...readFileSync(join(TOP, 'docs/OPERATIONS.md'), 'utf8').matchAll(/^### (Roomcast\w+)$/gm)].map(([, name]) => name);
  const names = new Set(alerts().map(({ alert }) => alert));
  assert.deepEqual([...sections].sort(), [...names].sort(), 'sections and alerts are the same');
  assert.deepEqual([...fired].sort(), [...names].sort(), 'each alert fires in some scenario');
  for (const { alert, labels, annotations } of alerts()) {
    assert.match(labels.severity, /^(page|ticket)$/, alert);
    for (const name of ['summary', 'description', 'runbook_url', 'dashboard_url']) assert.ok(annotations[name], `${alert}: ${name}`);
    const uid = annotations.dashboard_url.match(/^\/d\/([\w-]+)/)?.[1];
    assert.ok(Object.values(DASHBOARDS).some((dashboard) => dashboard.uid === uid), `${alert} leads to dashboard ${uid}`);
  }
});

test('rules and dashboards name metrics of the inventory only', () => {
  const inventory = readFileSync(join(TOP, 'docs/METRICS.md'), 'utf8');
  const known = new Set([...inventory.matchAll(/^\| `(\w+)` \| (\w+)/gm)].flatMap(([, name, kind]) => (kind === 'histogram' ? ['_bucket', '_sum', '_count'].map((part) => name + part) : [name])));
  const recorded = parse(readFileSync(join(PROMETHEUS, 'rules/slo.yaml'), 'utf8')).groups.flatMap(({ rules }) => rules);
  const names = new Set(recorded.map(({ record }) => record));
  const shown = Object.values(DASHBOARDS).flatMap((dashboard) => queries(dashboard, '1m'));
  for (const { expr } of [...alerts(), ...shown, ...recorded]) {
    for (const [name] of expr.matchAll(/(?<![\w:"/-])roomcast_\w+/g)) assert.ok(known.has(name), `${name} in ${expr}`);
    for (const [name] of expr.matchAll(/namespace:\w+:\w+/g)) assert.ok(names.has(name), name);
  }
});

for (const [name, dashboard] of Object.entries(DASHBOARDS)) {
  test(`dashboard ${name}`, () => {
    const text = readFileSync(join(TOP, `deploy/grafana/dashboards/${name}.json`), 'utf8');
    assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(dashboard)), 'is what the generator writes');
    assert.match(dashboard.uid, /^roomcast-[a-z-]+$/);
    assert.doesNotMatch(text, /vector\(/, 'a query that has no data must show it');
    assert.equal(dashboard.templating.list[0].type, 'datasource');
    const ids = dashboard.panels.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
    for (const panel of dashboard.panels.filter(({ type }) => type !== 'row')) {
      const what = `${name}: ${panel.title}`;
      assert.ok(panel.description?.endsWith('.'), `${what} has a description`);
      assert.ok(panel.fieldConfig.defaults.unit, `${what} has a unit`);
      assert.ok(panel.targets.length > 0 && panel.targets.every(({ datasource }) => datasource.uid === '${datasource}'), what);
      assert.ok(panel.gridPos.x + panel.gridPos.w <= 24, `${what} fits`);
      // A name from a rule is of the whole namespace: an instance would never match.
      for (const { expr } of panel.targets) assert.match(expr, /namespace=~"\$namespace"/, what);
    }
    // promtool parses expressions where they are rules.
    const rules = queries(dashboard, '1m').map(({ expr }, i) => ({ record: `query_${i}`, expr }));
    promtool('check', 'rules', write(`${name}.yaml`, yamlFile(name, { groups: [{ name, rules }] })));
  });
}
