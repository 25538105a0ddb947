// The settings of a run, from the environment: read and checked here and nowhere else. Called by scenario.ts.

export const DIALECTS = ["flocker", "abidev", "flask-chat-app", "ribbit", "private-rooms"] as const;
export type Dialect = (typeof DIALECTS)[number];

export interface Settings {
    /** Of the gateways or their load balancer, without a slash at its end. */
    baseUrl: string;
    rooms: number;
    /** k6's virtual users, each of which has `sockets` connections. */
    vus: number;
    sockets: number;
    /** What it counts, a second, the scenario says: messages, sessions or joins. */
    rate: number;
    /** Milliseconds. */
    duration: number;
    token: string | undefined;
    dialects: readonly Dialect[];
    /** Milliseconds: the limit of the 95th percentile of acknowledgements and deliveries. */
    p95: number;
    /** Begins the names of rooms and users; machines that share one run share their rooms. */
    run: string | undefined;
    /** The folder of the report and the summary. */
    out: string;
}

/** What a scenario uses where the environment says nothing. */
export interface Defaults {
    rooms: number;
    vus: number;
    sockets: number;
    rate: number;
    duration: string;
    p95?: number;
}

type Environment = Record<string, string | undefined>;

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a duration such as `90s` or `1h30m`; undefined if it is none. */
export function parseDuration(text: string): number | undefined {
    if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined;
    let total = 0;
    for (const [, value, , unit] of text.matchAll(/(\d+(\.\d+)?)(ms|s|m|h)/g)) total += Number(value) * (UNITS[unit ?? ""] ?? 0);
    return total;
}

/** A duration as k6 reads it. */
export const k6Duration = (ms: number): string => `${Math.max(1, Math.round(ms))}ms`;

function number(env: Environment, name: string, fallback: number, least: number, most: number, whole = true): number {
    const text = env[name];
    if (text === undefined || text === "") return fallback;
    const value = Number(text);
    const valid = text.trim() !== "" && value >= least && value <= most && (!whole || Number.isInteger(value));
    if (!valid) throw new Error(`${name}=${text}: expected a ${whole ? "whole number" : "number"} from ${least} to ${most}`);
    return value;
}

function text(env: Environment, name: string, pattern: RegExp, expected: string): string | undefined {
    const value = env[name];
    if (value === undefined || value === "") return undefined;
    // The value is not shown: it may be a secret.
    if (!pattern.test(value)) throw new Error(`${name}: expected ${expected}`);
    return value;
}

function dialects(env: Environment): readonly Dialect[] {
    const name = env["DIALECT"];
    if (name === undefined || name === "" || name === "all") return DIALECTS;
    const found = DIALECTS.find((dialect) => dialect === name);
    if (!found) throw new Error(`DIALECT=${name}: expected all, ${DIALECTS.join(", ")}`);
    return [found];
}

/**
 * The settings of a run. Throws, with one line, where one is out of range.
 */
export function readSettings(env: Environment, defaults: Defaults): Settings {
    const baseUrl = env["BASE_URL"] || "http://127.0.0.1:8080";
    if (!/^https?:\/\/[^/?#\s@]+\/?$/.test(baseUrl)) {
        throw new Error(`BASE_URL=${baseUrl}: expected http:// or https://, a host, and no path`);
    }
    const duration = parseDuration(env["DURATION"] || defaults.duration);
    if (duration === undefined || duration < 3_000 || duration > 86_400_000) {
        throw new Error(`DURATION=${env["DURATION"]}: expected a duration from 3s to 24h, such as 90s or 1h30m`);
    }
    const settings: Settings = {
        baseUrl: baseUrl.replace(/\/$/, ""),
        rooms: number(env, "ROOMS", defaults.rooms, 1, 1_000_000),
        vus: number(env, "VUS", defaults.vus, 1, 100_000),
        sockets: number(env, "SOCKETS", defaults.sockets, 1, 10_000),
        rate: number(env, "RATE", defaults.rate, 0.01, 1_000_000, false),
        duration,
        token: text(env, "TOKEN", /^[\x20-\x7e]{1,4096}$/, "at most 4096 printable characters of ASCII"),
        dialects: dialects(env),
        p95: number(env, "P95", defaults.p95 ?? 1_000, 1, 600_000),
        run: text(env, "RUN", /^[a-z0-9]{1,16}$/, "at most 16 lower-case letters and digits"),
        out: (env["OUT"] || ".").replace(/\/+$/, "") || "/",
    };
    const connections = settings.vus * settings.sockets;
    if (connections > 1_000_000) {
        throw new Error(`VUS=${settings.vus} times SOCKETS=${settings.sockets}: expected at most 1000000 connections`);
    }
    return settings;
}
