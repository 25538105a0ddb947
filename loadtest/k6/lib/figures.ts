// What a report holds, and how its figures are written. Pure; called by report.ts and page.ts.

export interface ThresholdResult {
    metric: string;
    expression: string;
    ok: boolean;
}

export interface Row {
    metric: string;
    type: string;
    /** `ms`, `bytes`, or nothing where it is a count or a share. */
    unit: string;
    values: Record<string, number>;
}

export interface Report {
    scenario: string;
    models: string;
    /** What `RATE` counts. */
    rate: string;
    passed: boolean;
    seconds: number;
    settings: Record<string, string | number>;
    thresholds: ThresholdResult[];
    metrics: Row[];
}

/** Where a trend's figures are shown, in this order. */
export const PERCENTILES = ["med", "p(95)", "p(99)", "max"];

/** A number with as many digits as help. */
export function figure(value: number | undefined): string {
    if (value === undefined || Number.isNaN(value)) return "–";
    if (Number.isInteger(value)) return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
    return Math.abs(value) >= 100 ? figure(Math.round(value)) : value.toPrecision(3);
}

/** The figures of a row in one line. */
export function figures({ type, unit, values }: Row): string {
    const withUnit = (value: number | undefined): string => figure(value) + (unit ? ` ${unit}` : "");
    if (type === "trend") return PERCENTILES.map((name) => `${name} ${withUnit(values[name])}`).join("  ");
    if (type === "rate") return `${figure((values["rate"] ?? 0) * 100)} %`;
    if (type === "counter") return `${withUnit(values["count"])}  (${figure(values["rate"])}/s)`;
    return `${withUnit(values["value"])}  (most ${withUnit(values["max"])})`;
}
