// What handleSummary(data) is given, in k6's shape, and the text that is printed where a script has no such function.
// Called by run.mjs.
import { createHash } from 'node:crypto';

const id = (path) => createHash('md5').update(path).digest('hex');

/** `{options, state, metrics, root_group, setup_data?}`; only metrics with samples, or with thresholds, are in it. */
export function summaryData(metrics, thresholds, options, durationMs, setupData) {
  const found = {};
  for (const { name, type, contains, sink } of metrics) {
    const own = thresholds.of(name);
    if (sink.samples === 0 && !own) continue;
    found[name] = { type, contains, values: sink.values(durationMs / 1_000, options.summaryTrendStats), ...(own && { thresholds: own }) };
  }
  return {
    root_group: groups(metrics.checks),
    options: { summaryTrendStats: options.summaryTrendStats, summaryTimeUnit: '', noColor: true },
    state: { isStdOutTTY: process.stdout.isTTY === true, isStdErrTTY: process.stderr.isTTY === true, testRunDurationMs: durationMs },
    metrics: found,
    ...(setupData !== undefined && { setup_data: JSON.parse(setupData) }),
  };
}

function groups(checks) {
  const made = (name, path) => ({ name, path, id: id(path), groups: [], checks: [] });
  const root = made('', '');
  for (const { group, name, passes, fails } of checks.values()) {
    const parent = group.split('::').slice(1).reduce((above, part) => {
      let next = above.groups.find((each) => each.name === part);
      if (!next) above.groups.push((next = made(part, `${above.path}::${part}`)));
      return next;
    }, root);
    const path = `${group}::${name}`;
    parent.checks.push({ name, path, id: id(path), passes, fails });
  }
  return root;
}

/** Checks, thresholds and metrics, one to a line. */
export function summaryText({ metrics, root_group: root }) {
  const lines = [];
  const show = (group, indent) => {
    for (const { name, passes, fails } of group.checks) lines.push(`${indent}${fails === 0 ? '✓' : '✗'} ${name}${fails ? `  ${passes} of ${passes + fails}` : ''}`);
    for (const inner of group.groups) {
      lines.push(`${indent}${inner.name}`);
      show(inner, `${indent}  `);
    }
  };
  show(root, '  ');
  const names = Object.keys(metrics).sort();
  const width = Math.max(0, ...names.map((name) => name.length)) + 2;
  for (const name of names) {
    const { contains, values, thresholds } = metrics[name];
    const unit = contains === 'time' ? 'ms' : '';
    const shown = Object.entries(values).map(([key, value]) => `${key}=${Number(value.toFixed(2))}${key === 'count' ? '' : unit}`);
    lines.push(`  ${`${name} `.padEnd(width, '.')}: ${shown.join(' ')}`);
    for (const [expression, { ok }] of Object.entries(thresholds ?? {})) lines.push(`    ${ok ? '✓' : '✗'} ${expression}`);
  }
  return `${lines.join('\n')}\n`;
}
