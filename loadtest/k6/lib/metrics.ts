// The metrics of what a chat promises. k6 adds the tag `scenario` to each value. Used by member.ts, classic.ts and
// session.ts; what they mean stands in README.md.

import { Counter, Trend } from "k6/metrics";
import { socketMetrics } from "../socketio.ts";
import type { CheckerCounts } from "./checker.ts";

export type Tags = Record<string, string>;

/** Messages of rooms that members received, by event or in the answer to a join. */
export const deliveries = new Counter("roomcast_deliveries");
/** Messages that were acknowledged. */
export const sends = new Counter("roomcast_sends");
/** Messages that were sent again with the same id, after a `busy`, a lost answer or a lost connection. */
export const sendRetries = new Counter("roomcast_send_retries");
/** Messages that were given up. */
export const sendErrors = new Counter("roomcast_send_errors");
export const missing = new Counter("roomcast_missing");
export const repeated = new Counter("roomcast_repeated");
export const misordered = new Counter("roomcast_misordered");
/** Rejoins that the server could not recover, and events `resync`. */
export const resyncs = new Counter("roomcast_resyncs");
/** Rejoins that brought exactly what was missed. */
export const recoveries = new Counter("roomcast_recoveries");
export const unexplainedLeaves = new Counter("roomcast_unexplained_leaves");
/** From the moment at which a user left to the event that says so, in milliseconds. */
export const leaveDuration = new Trend("roomcast_leave_duration", true);
/** Members that came in, and members that could not. */
export const joins = new Counter("roomcast_joins");
export const joinErrors = new Counter("roomcast_join_errors");
/** Sessions of a VU that ended as planned, and those that an error ended. */
export const sessions = new Counter("roomcast_sessions");
export const sessionErrors = new Counter("roomcast_session_errors");

/** Those that thresholds are about: counted with 0 once, so that each report shows them and each threshold is judged. */
const MUST_BE_SEEN = [
    deliveries,
    sends,
    sendErrors,
    missing,
    repeated,
    misordered,
    resyncs,
    recoveries,
    unexplainedLeaves,
    joinErrors,
    sessionErrors,
    socketMetrics.connectErrors,
    socketMetrics.disconnects,
    socketMetrics.reconnects,
];

export function announce(tags: Tags): void {
    for (const metric of MUST_BE_SEEN) metric.add(0, tags);
}

/** What a checker finds, as metrics; the first findings are logged. `where` says whose they are. */
export function checkerCounts(tags: Tags, where: string): CheckerCounts {
    const add = (metric: Counter, what: string) => (count: number) => {
        if (count === 0) return;
        metric.add(count, tags);
        if (what !== "") complain(`${where}: ${count} ${what}`);
    };
    return {
        missing: add(missing, "missing"),
        repeated: add(repeated, "repeated"),
        misordered: add(misordered, "out of order"),
        resyncs: add(resyncs, "not recovered"),
        recoveries: add(recoveries, ""),
    };
}

let complaints = 0;
const MAX_COMPLAINTS = 5;

/** Logs a line, unless this VU has logged enough: a failing server would fill the log. */
export function complain(line: string): void {
    if (++complaints <= MAX_COMPLAINTS) console.warn(line);
    if (complaints === MAX_COMPLAINTS) console.warn("this VU logs nothing more; the metrics count on");
}
