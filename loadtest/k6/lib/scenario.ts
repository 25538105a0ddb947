// What each scenario exports to k6: options, setup and handleSummary, from one description. Called by scenarios/*.ts.

import type { Options, Scenario as Executor, Threshold } from "k6/options";
import { probe } from "./probe.ts";
import { summarize, type Output, type Subject, type SummaryData } from "./report.ts";
import type { Data } from "./session.ts";
import { k6Duration, readSettings, type Defaults, type Settings } from "./settings.ts";

export type Thresholds = Record<string, Threshold[]>;

export interface Description extends Subject {
    defaults: Defaults;
    executors(settings: Settings): Record<string, Executor>;
    /** Instead of those of every scenario, or besides them. An empty list takes one away. */
    thresholds(settings: Settings): Thresholds;
}

export interface Scenario {
    settings: Settings;
    options: Options;
    setup: () => Data;
    handleSummary: (data: SummaryData) => Output;
}

/** k6 begins its VUs a moment after `setup`. */
const START_DELAY = 500;

/** What no run may break: every message once and in order, nobody leaves unexplained, and something was delivered. */
function commonThresholds({ p95 }: Settings): Thresholds {
    return {
        roomcast_deliveries: ["count>0"],
        roomcast_missing: ["count==0"],
        roomcast_repeated: ["count==0"],
        roomcast_misordered: ["count==0"],
        roomcast_resyncs: ["count==0"],
        roomcast_unexplained_leaves: ["count==0"],
        roomcast_send_errors: ["count==0"],
        roomcast_join_errors: ["count==0"],
        roomcast_sessions: ["count>0"],
        roomcast_session_errors: ["count==0"],
        sio_ack_ok: ["rate>0.999"],
        sio_connect_errors: ["count==0"],
        sio_disconnects: ["count==0"],
        sio_connect_duration: [`p(95)<${2 * p95}`],
        sio_ack_duration: [`p(95)<${p95}`],
        sio_delivery_duration: [`p(95)<${p95}`],
    };
}

export function define(description: Description): Scenario {
    const settings = readSettings(__ENV, description.defaults);
    const merged = { ...commonThresholds(settings), ...description.thresholds(settings) };
    const thresholds = Object.fromEntries(Object.entries(merged).filter(([, expressions]) => expressions.length > 0));
    return {
        settings,
        options: {
            scenarios: description.executors(settings),
            thresholds,
            summaryTrendStats: ["avg", "min", "med", "p(90)", "p(95)", "p(99)", "max"],
            setupTimeout: "120s",
        },
        setup: () => {
            const run = settings.run ?? randomName();
            probe(settings, `${run}-probe`);
            return { run, startAt: Date.now() + START_DELAY };
        },
        handleSummary: (data) => summarize(description, settings, data),
    };
}

const randomName = (): string => `k6${Math.random().toString(36).slice(2, 8).padEnd(6, "0")}`;

/** How long a run may take beyond its duration: coming in late, the last messages, leaving. */
const OVERTIME = 90_000;

/** Each VU has one session, as long as the run. */
export function onePerVu({ vus, duration }: Settings, more: { exec?: string } = {}): Executor {
    return {
        executor: "per-vu-iterations",
        vus,
        iterations: 1,
        maxDuration: k6Duration(duration + OVERTIME),
        gracefulStop: "5s",
        ...more,
    };
}

/** VUs that come and go; each has one short session after the other. */
export function ramping(stages: { share: number; vus: number }[], { duration }: Settings, startVUs = 0): Executor {
    return {
        executor: "ramping-vus",
        startVUs: Math.round(startVUs),
        stages: stages.map(({ share, vus }) => ({ duration: k6Duration(duration * share), target: Math.round(vus) })),
        gracefulRampDown: "60s",
        gracefulStop: "60s",
    };
}

/** When the sessions of a run that are as long as the run stop to send, and how long they take to come in. */
export function wholeRun({ duration }: Settings, { startAt }: Data): { end: number; ramp: number } {
    return { end: startAt + duration, ramp: Math.min(30_000, duration / 5) };
}

/** The same for one of many short sessions. */
export function shortSession(length: number): { end: number; ramp: number } {
    return { end: Date.now() + length, ramp: Math.min(1_000, length / 5) };
}
