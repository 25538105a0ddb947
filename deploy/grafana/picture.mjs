// Pictures of the dashboards for the docs, where there is no Grafana: the same files, the same queries, asked
// of the real Prometheus of live.test.mjs, drawn as a page and photographed by Chromium (make pictures).
// Draws what our panels use (numbers, lines, tables) and no more of Grafana than that.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { queries } from '../prometheus/tests/queries.mjs';

const IMAGES = fileURLToPath(new URL('../../docs/img/', import.meta.url));
const BROWSER = process.env.ROOMCAST_CHROMIUM ?? '/usr/bin/chromium';
const WIDTH = 1600;
const [CELL_WIDTH, CELL_HEIGHT] = [WIDTH / 24, 30];
const COLOURS = ['#3274d9', '#56a64b', '#e0a30b', '#e02f44', '#8f3bb8', '#0a9fa8', '#c9622a', '#6b7280', '#a3be3c', '#d65fa4'];
const NAMED = { green: '#37872d', red: '#c4162a', orange: '#e0752d', yellow: '#e0b400', text: '#24292e', transparent: '#24292e' };

/* ---- numbers as people read them -------------------------------------------------------------- */

const digits = (value) => String(Number(value.toPrecision(3)));
const scaled = (value, base, names) => {
  let step = 0;
  for (; Math.abs(value) >= base && step < names.length - 1; step++) value /= base;
  return `${digits(value)}${names[step]}`;
};
const UNITS = {
  short: (value) => scaled(value, 1000, ['', ' K', ' M', ' G']),
  none: digits,
  reqps: (value) => `${scaled(value, 1000, ['', ' K', ' M'])}/s`,
  bytes: (value) => scaled(value, 1024, [' B', ' KiB', ' MiB', ' GiB']),
  Bps: (value) => scaled(value, 1024, [' B/s', ' KiB/s', ' MiB/s']),
  percentunit: (value) => `${digits(value * 100)} %`,
  s: (value) => {
    if (value === 0 || Math.abs(value) >= 1) return Math.abs(value) >= 120 ? `${digits(value / 60)} min` : `${digits(value)} s`;
    return Math.abs(value) >= 1e-3 ? `${digits(value * 1e3)} ms` : `${digits(value * 1e6)} µs`;
  },
};
const show = (unit, value) => (UNITS[unit] ?? digits)(value);
const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const legend = (format, metric) =>
  format ? format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => metric[name] ?? '') : JSON.stringify(metric);

/* ---- panels ----------------------------------------------------------------------------------- */

const colourOf = ({ fieldConfig: { defaults } }, value) => {
  const mapped = defaults.mappings?.[0]?.options[value];
  const step = defaults.thresholds?.steps.findLast((each) => each.value === null || value >= each.value);
  return NAMED[mapped?.color ?? step?.color] ?? NAMED.text;
};

function stat(panel, [answer]) {
  const { unit, mappings, noValue } = panel.fieldConfig.defaults;
  const value = answer.length ? Number(answer[0].value[1]) : undefined;
  const text = value === undefined ? (noValue ?? 'no data') : (mappings?.[0]?.options[value]?.text ?? show(unit, value));
  return `<div class="stat" style="color:${value === undefined ? NAMED.green : colourOf(panel, value)}">${escape(text)}</div>`;
}

/** Four steps or so of 1, 2 or 5 times a power of ten (of 1024 for bytes). */
function ticks(most, unit) {
  const raw = most / 4;
  const base = /bytes|Bps/.test(unit) && raw > 1024 ? 1024 ** Math.floor(Math.log(raw) / Math.log(1024)) : 1;
  const ten = 10 ** Math.floor(Math.log10(raw / base));
  const step = [1, 2, 5, 10].map((times) => times * ten * base).find((each) => each >= raw);
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, i) => i * step);
}

function lines(panel, answers, { start, end, firing }) {
  const { unit, custom, thresholds, max } = panel.fieldConfig.defaults;
  const [width, height] = [panel.gridPos.w * CELL_WIDTH - 26, panel.gridPos.h * CELL_HEIGHT - 100];
  const left = 66;
  const series = answers.flatMap((answer, i) =>
    answer.map(({ metric, values }) => ({ name: legend(panel.targets[i].legendFormat, metric), values: values.map(([time, text]) => [time, Number(text)]) })),
  );
  const known = series.filter(({ values }) => values.some(([, value]) => Number.isFinite(value)));
  // Of many series, those that were nothing all the time are only counted.
  const moved = known.filter(({ values }) => values.some(([, value]) => value !== 0));
  const drawn = known.length > 4 && moved.length > 0 ? moved : known;
  drawn.sort((a, b) => Math.max(...b.values.map(([, v]) => v || 0)) - Math.max(...a.values.map(([, v]) => v || 0)));
  const stacked = custom.stacking.mode === 'normal';
  const below = new Map();
  const points = drawn.map(({ values }) =>
    values.map(([time, value]) => {
      const from = stacked ? (below.get(time) ?? 0) : 0;
      if (stacked && Number.isFinite(value)) below.set(time, from + value);
      return [time, from + value];
    }),
  );
  const highest = Math.max(0, ...points.flat().map(([, value]) => value).filter(Number.isFinite));
  const scale = ticks(max ?? (highest * 1.02 || 1), unit);
  const top = scale.at(-1);
  const x = (time) => left + ((time - start) / (end - start)) * (width - left);
  const y = (value) => height - (value / top) * (height - 8);
  const grid = scale.map((value) => `<line x1="${left}" x2="${width}" y1="${y(value)}" y2="${y(value)}" class="grid"/><text x="${left - 6}" y="${y(value) + 4}" class="tick" text-anchor="end">${escape(show(unit, value))}</text>`);
  for (let after = 0; after <= end - start; after += 30) {
    grid.push(`<text x="${x(start + after)}" y="${height + 16}" class="tick" text-anchor="middle">${after} s</text>`);
  }
  const limits = (custom.thresholdsStyle.mode === 'off' ? [] : thresholds.steps).filter(({ value }) => value !== null && value <= top);
  const marks = [
    ...firing.map(({ from, to }) => `<rect x="${x(from)}" width="${Math.max(2, x(to) - x(from))}" y="0" height="${height}" class="firing"/>`),
    ...limits.map(({ value, color }) => `<line x1="${left}" x2="${width}" y1="${y(value)}" y2="${y(value)}" stroke="${NAMED[color]}" stroke-dasharray="6 4"/>`),
  ];
  const paths = points.map((list, i) => {
    let pen = 'M';
    const path = list.map(([time, value]) => {
      if (!Number.isFinite(value)) return ((pen = 'M'), '');
      const to = `${pen}${x(time).toFixed(1)},${y(value).toFixed(1)}`;
      pen = 'L';
      return to;
    });
    return `<path d="${path.join('')}" fill="none" stroke="${COLOURS[i % COLOURS.length]}" stroke-width="1.6"/>`;
  });
  const names = drawn.slice(0, 10).map(({ name }, i) => `<span><i style="background:${COLOURS[i % COLOURS.length]}"></i>${escape(name)}</span>`);
  if (drawn.length > 10) names.push(`<span>and ${drawn.length - 10} more</span>`);
  if (known.length > drawn.length) names.push(`<span>(${known.length - drawn.length} at 0)</span>`);
  return `<svg width="${width}" height="${height + 20}">${[...marks, ...grid, ...paths].join('')}</svg><div class="legend">${names.join('')}</div>`;
}

function table(panel, answers) {
  const names = panel.transformations.find(({ id }) => id === 'organize').options.renameByName;
  const rows = new Map();
  answers.forEach((answer, i) =>
    answer.forEach(({ metric, value }) => {
      const row = rows.get(metric.instance) ?? new Map();
      rows.set(metric.instance, row);
      const name = i === 0 ? names.version : names[`Value #${panel.targets[i].refId}`];
      const unit = panel.fieldConfig.overrides.find(({ matcher }) => matcher.options === name)?.properties[0].value;
      row.set(name, i === 0 ? metric.version : show(unit, Number(value[1])));
    }),
  );
  const columns = Object.entries(names).filter(([key]) => key !== 'instance').map(([, name]) => name);
  const cells = (tag, list) => `<tr>${list.map((text) => `<${tag}>${escape(text ?? '')}</${tag}>`).join('')}</tr>`;
  const body = [...rows].sort().map(([instance, row]) => cells('td', [instance, ...columns.map((name) => row.get(name))]));
  return `<table>${cells('th', [names.instance, ...columns])}${body.join('')}</table>`;
}

/* ---- the page --------------------------------------------------------------------------------- */

const STYLE = `
  body { margin: 0; padding: 16px; width: ${WIDTH}px; background: #f4f5f5; color: #24292e; font: 13px "DejaVu Sans", sans-serif; }
  h1 { font-size: 20px; margin: 0 0 4px; } h1 + p { margin: 0 0 12px; color: #555; }
  .grid-of-panels { position: relative; } .row { font-weight: bold; font-size: 14px; padding: 7px 4px 0; }
  .panel, .row { position: absolute; box-sizing: border-box; } .panel { padding: 4px; }
  .panel > div { height: 100%; box-sizing: border-box; background: #fff; border: 1px solid #dce0e4; border-radius: 3px; padding: 8px; overflow: hidden; }
  h2 { font-size: 13px; margin: 0 0 6px; } .stat { font-size: 32px; text-align: center; padding-top: 10px; font-weight: bold; }
  .grid { stroke: #e7e9ec; } .tick { font-size: 11px; fill: #667; } .firing { fill: #c4162a; opacity: 0.09; }
  .legend { margin-top: 4px; line-height: 1.35; font-size: 11.5px; height: 32px; overflow: hidden; } .legend span { margin-right: 12px; white-space: nowrap; }
  .legend i { display: inline-block; width: 12px; height: 3px; margin-right: 5px; vertical-align: middle; }
  table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: 5px 10px; border-bottom: 1px solid #e7e9ec; } svg { display: block; }`;

async function page(prometheus, dashboard, { start, end, rateInterval }) {
  const asked = queries(dashboard, rateInterval);
  const annotations = await prometheus.range(dashboard.annotations.list[0].expr, start, end, 1);
  // The tickets of the objectives look back so far that they would be all over the picture.
  const firing = annotations.filter(({ metric }) => metric.burn !== '1x').map(({ metric, values }) => ({ name: metric.alertname, from: values[0][0], to: values.at(-1)[0] }));
  const panels = await Promise.all(dashboard.panels.map(async (panel) => {
    const { x, y, w, h } = panel.gridPos;
    const place = `left:${x * CELL_WIDTH}px;top:${y * CELL_HEIGHT}px;width:${w * CELL_WIDTH}px;height:${h * CELL_HEIGHT}px`;
    if (panel.type === 'row') return `<div class="row" style="${place}">${escape(panel.title)}</div>`;
    const own = asked.filter((each) => each.panel === panel);
    const ask = ({ expr, target }) => (target.instant ? prometheus.query(expr, end) : prometheus.range(expr, start, end, 1));
    const answers = await Promise.all(own.map(ask));
    const body = { stat, timeseries: lines, table }[panel.type](panel, answers, { start, end, firing });
    return `<div class="panel" style="${place}"><div><h2>${escape(panel.title)}</h2>${body}</div></div>`;
  }));
  const rows = Math.max(...dashboard.panels.map(({ gridPos: { y, h } }) => y + h));
  const first = new Map();
  for (const { name, from } of firing) first.set(name, Math.min(from, first.get(name) ?? Infinity));
  const alerts = [...first].sort((a, b) => a[1] - b[1]).map(([name, from]) => `${name} (${Math.round(from - start)} s)`);
  const note = `A run of ${Math.round(end - start)} s. Red bands: alerts fire, with their durations a sixtieth of what they are: ${alerts.join(', ') || 'none'}. Not Grafana: our own rendering of the same file and queries.`;
  return `<!doctype html><meta charset="utf-8"><style>${STYLE}</style><h1>${escape(dashboard.title)}</h1><p>${escape(note)}</p>
    <div class="grid-of-panels" style="height:${rows * CELL_HEIGHT}px">${panels.join('')}</div>`;
}

/** Writes docs/img/dashboard-NAME.png for each. */
export async function picture(prometheus, dashboards, range) {
  // It is a package of the end-to-end tests.
  const { chromium } = createRequire(new URL('../../gateway/tests/e2e/', import.meta.url))('playwright-core');
  const browser = await chromium.launch({ executablePath: BROWSER, args: ['--headless', '--no-sandbox', '--disable-gpu'] });
  try {
    const tab = await browser.newPage({ viewport: { width: WIDTH + 32, height: 900 } });
    for (const [name, dashboard] of Object.entries(dashboards)) {
      await tab.setContent(await page(prometheus, dashboard, range));
      await tab.screenshot({ path: `${IMAGES}dashboard-${name}.png`, fullPage: true });
    }
  } finally {
    await browser.close();
  }
}
