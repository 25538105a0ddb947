// The summary of a run: text for the terminal, JSON for programs, and a page to look at. Called by scenario.ts.

import { figures, type Report, type Row } from "./figures.ts";
import { page } from "./page.ts";
import type { Settings } from "./settings.ts";

/** What k6 passes to `handleSummary`, as far as it is used here. */
export interface SummaryData {
    metrics: Record<string, Metric>;
    state?: { testRunDurationMs?: number };
}

export interface Metric {
    type: string;
    contains: string;
    values: Record<string, number>;
    thresholds?: Record<string, { ok: boolean }>;
}

/** What k6 writes: `stdout`, and files by their path. */
export type Output = Record<string, string>;

/** What the report says of its scenario. */
export interface Subject {
    name: string;
    /** What it models, in one sentence. */
    models: string;
    /** What `RATE` counts. */
    rate: string;
}

export function summarize(subject: Subject, settings: Settings, data: SummaryData): Output {
    const report = makeReport(subject, settings, data);
    return {
        stdout: textOf(report),
        [`${settings.out}/summary.json`]: `${JSON.stringify(report, null, 2)}\n`,
        [`${settings.out}/report.html`]: page(report),
    };
}

export function makeReport({ name, models, rate }: Subject, settings: Settings, data: SummaryData): Report {
    const names = Object.keys(data.metrics).sort(byImportance);
    const thresholds = names.flatMap((metric) =>
        Object.entries(data.metrics[metric]?.thresholds ?? {}).map(([expression, { ok }]) => ({ metric, expression, ok })),
    );
    return {
        scenario: name,
        models,
        rate,
        passed: thresholds.length > 0 && thresholds.every(({ ok }) => ok),
        seconds: Math.round((data.state?.testRunDurationMs ?? 0) / 100) / 10,
        settings: {
            BASE_URL: settings.baseUrl,
            ROOMS: settings.rooms,
            VUS: settings.vus,
            SOCKETS: settings.sockets,
            RATE: settings.rate,
            DURATION: `${settings.duration / 1_000}s`,
            P95: settings.p95,
            ...(name === "classic" ? { DIALECT: settings.dialects.join(" ") } : {}),
        },
        thresholds,
        metrics: names.map((metric) => rowOf(metric, data.metrics[metric])),
    };
}

/** Those of the chat, then of Socket.IO, then k6's own. */
function byImportance(a: string, b: string): number {
    const rank = (name: string): number => (name.startsWith("roomcast_") ? 0 : name.startsWith("sio_") ? 1 : 2);
    return rank(a) - rank(b) || (a < b ? -1 : 1);
}

function rowOf(metric: string, { type, contains, values }: Metric = { type: "", contains: "", values: {} }): Row {
    return { metric, type, unit: contains === "time" ? "ms" : contains === "data" ? "bytes" : "", values };
}

function textOf(report: Report): string {
    const { scenario, passed, seconds, thresholds, metrics } = report;
    const width = Math.max(...metrics.map(({ metric }) => metric.length), 20);
    const failed = thresholds.filter(({ ok }) => !ok);
    const lines = [
        "",
        `  ${scenario}: ${passed ? "passed" : "FAILED"} after ${seconds} s, ${thresholds.length - failed.length} of ${thresholds.length} thresholds hold`,
        ...failed.map(({ metric, expression }) => `  ✗ ${metric}: ${expression}`),
        "",
        ...metrics.map((row) => `  ${row.metric.padEnd(width, ".")}: ${figures(row)}`),
        "",
    ];
    return `${lines.join("\n")}\n`;
}
