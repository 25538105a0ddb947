// The report as one HTML page with everything in it: no script, no asset of elsewhere, light and dark. Called by report.ts.

import { figure, figures, PERCENTILES, type Report, type Row } from "./figures.ts";

const STYLE = `
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2024;--dim:#60646c;--line:#e0e1e6;--bar:#3e63dd;--ok:#218358;--bad:#ce2c31}
@media (prefers-color-scheme:dark){:root{--bg:#111113;--fg:#edeef0;--dim:#b0b4ba;--line:#363a3f;--bar:#9eb1ff;--ok:#3dd68c;--bad:#ff9592}}
body{background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.5rem 0}
.dim{color:var(--dim)}.ok{color:var(--ok)}.bad{color:var(--bad)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td:last-child{min-width:4.5rem}code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}
svg{width:100%;height:auto;max-width:48rem}svg text{fill:var(--fg);font:13px system-ui,sans-serif}svg rect{fill:var(--bar)}
`;

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escape = (value: string | number): string => String(value).replace(/[&<>"']/g, (c) => ESCAPES[c] ?? c);

const mark = (ok: boolean): string => (ok ? '<span class="ok">✓ holds</span>' : '<span class="bad">✗ broken</span>');

/** A trend as bars, one for each percentile. */
function chart({ metric, unit, values }: Row): string {
    const most = Math.max(...PERCENTILES.map((name) => values[name] ?? 0));
    const bars = PERCENTILES.map((name, i) => {
        const value = values[name] ?? 0;
        const width = most > 0 ? Math.max(1, (value / most) * 440) : 1;
        const y = 8 + i * 24;
        return (
            `<text x="56" y="${y + 13}" text-anchor="end">${name}</text>` +
            `<rect x="64" y="${y}" width="${width.toFixed(1)}" height="17" rx="2"/>` +
            `<text x="${(72 + width).toFixed(1)}" y="${y + 13}">${figure(value)} ${unit}</text>`
        );
    });
    const described = PERCENTILES.map((name) => `${name} ${figure(values[name])} ${unit}`).join(", ");
    const height = 12 + PERCENTILES.length * 24;
    return (
        `<h3><code>${escape(metric)}</code></h3>` +
        `<svg viewBox="0 0 640 ${height}" role="img" aria-label="${escape(`${metric}: ${described}`)}">${bars.join("")}</svg>`
    );
}

const isShown = (row: Row): boolean => row.type === "trend" && /^(sio|roomcast)_/.test(row.metric) && (row.values["max"] ?? 0) > 0;

export function page(report: Report): string {
    const { scenario, models, rate, passed, seconds, settings, thresholds, metrics } = report;
    const held = thresholds.filter(({ ok }) => ok).length;
    const rows = (cells: string[][]): string => cells.map((row) => `<tr>${row.join("")}</tr>`).join("\n");
    return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escape(scenario)}: ${passed ? "passed" : "failed"}</title>
<style>${STYLE}</style>
<h1>${escape(scenario)}: <span class="${passed ? "ok" : "bad"}">${passed ? "passed" : "failed"}</span></h1>
<p>${escape(models)}</p>
<p class="dim">${figure(seconds)} s; ${held} of ${thresholds.length} thresholds hold. <code>RATE</code> is ${escape(rate)}.</p>
<p class="dim">${Object.entries(settings).map(([name, value]) => `<code>${name}=${escape(value)}</code>`).join(" ")}</p>
<h2>Thresholds</h2>
<table><thead><tr><th>Metric<th>Threshold<th>Result</thead><tbody>
${rows(thresholds.map(({ metric, expression, ok }) => [`<td><code>${escape(metric)}</code>`, `<td><code>${escape(expression)}</code>`, `<td>${mark(ok)}`]))}
</tbody></table>
<h2>Durations</h2>
${metrics.filter(isShown).map(chart).join("\n")}
<h2>All figures</h2>
<table><thead><tr><th>Metric<th>Figures</thead><tbody>
${rows(metrics.map((row) => [`<td><code>${escape(row.metric)}</code>`, `<td>${escape(figures(row).replace(/ {2}/g, " · "))}`]))}
</tbody></table>
</html>
`;
}
