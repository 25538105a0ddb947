// What dashboards are made of: queries, kinds of panels, variables, layout. Used by dashboards.mjs and load-dashboard.mjs.

const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };
export const NS = 'namespace=~"$namespace"';
export const RATE = '$__rate_interval';
const COLUMNS = 24;

export const query = (expr, legend, extra) => ({ expr, legend, ...extra });
export const rate = (metric, { by = '', labels = '' } = {}) =>
  `sum${by && ` by (${by})`} (rate(${metric}{${NS}${labels && `, ${labels}`}}[${RATE}]))`;
export const quantile = (q, metric, { by = '', labels = '' } = {}) =>
  `histogram_quantile(${q}, ${rate(`${metric}_bucket`, { by: by ? `${by}, le` : 'le', labels })})`;
export const quantiles = (metric, labels) => [0.5, 0.95, 0.99].map((q) => query(quantile(q, metric, { labels }), `p${q * 100}`));
export const mean = (metric, { by = '', labels = '' } = {}) => `${rate(`${metric}_sum`, { by, labels })} / ${rate(`${metric}_count`, { by, labels })}`;

/* ---- kinds of panels ------------------------------------------------------------------------- */

export const steps = (list) => ({ mode: 'absolute', steps: list.map(([value, color]) => ({ value, color })) });
const CALM = steps([[null, 'green']]);
export const UP_DOWN = [{ type: 'value', options: { 0: { text: 'DOWN', color: 'red', index: 0 }, 1: { text: 'up', color: 'green', index: 1 } } }];
export const YES_NO = [{ type: 'value', options: { 0: { text: 'no', color: 'text', index: 0 }, 1: { text: 'YES', color: 'orange', index: 1 } } }];

const panel = (type, title, description, unit, targets, { width, height, defaults = {}, options = {}, ...more }) => ({
  type,
  title,
  description,
  datasource: DATASOURCE,
  size: { width, height },
  targets: targets.map(({ expr, legend, ...extra }, i) => ({
    refId: String.fromCharCode(65 + i),
    datasource: DATASOURCE,
    expr,
    legendFormat: legend ?? '',
    ...extra,
  })),
  fieldConfig: { defaults: { unit, ...defaults }, overrides: [] },
  options,
  ...more,
});

/** One number. */
export const stat = (title, description, unit, expr, { thresholds = CALM, mappings, decimals, noValue, width = 3 } = {}) =>
  panel('stat', title, description, unit, [query(expr, title, { instant: true })], {
    width,
    height: 4,
    defaults: { thresholds, mappings, decimals, noValue, color: { mode: 'thresholds' } },
    options: { colorMode: 'value', graphMode: 'none', reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false } },
  });

/** Lines over time. `limits` are drawn as lines. */
export const lines = (title, description, unit, targets, { width = 8, stack = false, limits, max, min = 0 } = {}) =>
  panel('timeseries', title, description, unit, targets, {
    width,
    height: 8,
    defaults: {
      min,
      max,
      color: { mode: 'palette-classic' },
      thresholds: limits ? steps([[null, 'transparent'], ...limits]) : CALM,
      custom: {
        lineWidth: 1.5,
        fillOpacity: stack ? 30 : 5,
        showPoints: 'never',
        spanNulls: false,
        stacking: { mode: stack ? 'normal' : 'none', group: 'A' },
        thresholdsStyle: { mode: limits ? 'dashed' : 'off' },
      },
    },
    options: { legend: { displayMode: 'list', placement: 'bottom', showLegend: true }, tooltip: { mode: 'multi', sort: 'desc' } },
  });

/** A row per instance; each column is a query by `instance`, the first of them for the label `version`. */
export const table = (title, description, columns) =>
  panel('table', title, description, 'short', columns.map(([, , expr]) => query(expr, '', { instant: true, format: 'table' })), {
    width: COLUMNS,
    height: 8,
    options: { showHeader: true, cellHeight: 'sm', sortBy: [{ displayName: 'Instance', desc: false }] },
    transformations: [
      { id: 'joinByField', options: { byField: 'instance', mode: 'outer' } },
      // The version is a label: the value of its query says nothing.
      { id: 'filterFieldsByName', options: { include: { pattern: '^(instance|version|Value #[B-Z])$' } } },
      {
        id: 'organize',
        options: {
          renameByName: { instance: 'Instance', version: 'Version', ...Object.fromEntries(columns.slice(1).map(([name], i) => [`Value #${String.fromCharCode(66 + i)}`, name])) },
        },
      },
    ],
    overrides: columns.map(([name, unit]) => ({ matcher: { id: 'byName', options: name }, properties: [{ id: 'unit', value: unit }] })),
  });

/* ---- variables and layout -------------------------------------------------------------------- */

const datasource = { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus', refresh: 1, hide: 0 };
/** `.*` for all, so that a Prometheus without namespaces is served too. */
export const choice = (name, label, values) => ({
  name,
  label,
  type: 'query',
  datasource: DATASOURCE,
  query: { query: values, refId: name },
  definition: values,
  refresh: 2,
  sort: 1,
  includeAll: true,
  allValue: '.*',
  multi: true,
  current: { text: ['All'], value: ['$__all'], selected: true },
});
const namespace = choice('namespace', 'Namespace', 'label_values(roomcast_build_info, namespace)');

/** Panels from left to right, each row under its title. */
function layout(rows) {
  let [id, y] = [1, 0];
  const place = (x, width, height) => ({ x, y, w: width, h: height });
  return rows.flatMap(([title, panels]) => {
    const placed = [{ id: id++, type: 'row', title, collapsed: false, panels: [], gridPos: place(0, COLUMNS, 1) }];
    y += 1;
    let [x, tallest] = [0, 0];
    for (const { size, overrides, ...each } of panels) {
      if (x + size.width > COLUMNS) [x, y, tallest] = [0, y + tallest, 0];
      if (overrides) each.fieldConfig.overrides = overrides;
      placed.push({ id: id++, ...each, gridPos: place(x, size.width, size.height) });
      x += size.width;
      tallest = Math.max(tallest, size.height);
    }
    y += tallest;
    return placed;
  });
}

export const dashboard = (uid, title, description, variables, rows) => ({
  uid,
  title,
  description,
  tags: ['roomcast'],
  schemaVersion: 39,
  version: 1,
  editable: true,
  timezone: 'browser',
  refresh: '15s',
  time: { from: 'now-1h', to: 'now' },
  templating: { list: [datasource, namespace, ...variables] },
  annotations: {
    list: [{
      name: 'Alerts',
      enable: true,
      hide: false,
      iconColor: 'red',
      datasource: DATASOURCE,
      expr: 'ALERTS{alertname=~"Roomcast.*", alertstate="firing"}',
      titleFormat: '{{alertname}}',
      textFormat: '{{instance}}',
    }],
  },
  links: [{ type: 'dashboards', title: 'Roomcast', tags: ['roomcast'], asDropdown: false, includeVars: true, keepTime: true, targetBlank: false, tooltip: '', icon: 'external link' }],
  panels: layout(rows),
});
