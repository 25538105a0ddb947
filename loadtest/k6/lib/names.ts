// Names of users that say until when they stay, so that every member can tell whether a leave was meant, also one of
// another VU or machine. Pure; called by member.ts, classic.ts and session.ts.

/** How much earlier a leave may be seen than the name says: clocks of several machines differ. */
const TOLERANCE_MS = 500;
const TIME_DIGITS = 8;

/** A user of this run. `until`: milliseconds since 1970. */
export function userName(run: string, member: string, until: number): string {
    return `${run}-${member}-${Math.round(until).toString(36).padStart(TIME_DIGITS, "0")}`;
}

/** Until when a user stays, in milliseconds since 1970; undefined if it is none of this run. */
export function staysUntil(run: string, user: string): number | undefined {
    // Some classic chats have names in upper case.
    const name = user.toLowerCase();
    if (!name.startsWith(`${run}-`)) return undefined;
    const until = Number.parseInt(name.slice(-TIME_DIGITS), 36);
    return Number.isNaN(until) ? undefined : until;
}

/** Whether a user of this run is seen to leave before the time in the name. */
export function leavesTooEarly(run: string, user: string, now: number): boolean {
    const until = staysUntil(run, user);
    return until !== undefined && now < until - TOLERANCE_MS;
}
