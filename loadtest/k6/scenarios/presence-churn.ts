// People come and go all the time, and some stay and watch: the load is in joins, leaves and presence.

import { Counter } from "k6/metrics";
import { complain } from "../lib/metrics.ts";
import { define, onePerVu, shortSession, wholeRun } from "../lib/scenario.ts";
import { session, type Data } from "../lib/session.ts";
import { k6Duration } from "../lib/settings.ts";
import { holds, until } from "../lib/time.ts";

/** Users whom a room shows after all of them have left. */
const ghosts = new Counter("roomcast_ghosts");

/** Milliseconds in which a visit sends; it lasts a little longer. */
const VISIT = 1_500;
/** How long before the end the last visit ends. */
const QUIET = 10_000;
/** How long the last leaves may take to be seen. */
const LAST_LEAVES = 5_000;

const scenario = define({
    name: "presence-churn",
    models: "Visitors join, say something and leave after seconds, again and again, while watchers stay: every leave is seen, none that was not one, and nobody remains.",
    rate: "messages a second, of all visitors together",
    defaults: { rooms: 10, vus: 20, sockets: 20, rate: 40, duration: "2m" },
    executors: (settings) => ({
        watchers: onePerVu({ ...settings, vus: 1 }, { exec: "watch" }),
        visitors: {
            executor: "constant-vus",
            vus: settings.vus,
            duration: k6Duration(Math.max(1_000, settings.duration - QUIET)),
            gracefulStop: "30s",
            exec: "visit",
        },
    }),
    thresholds: () => ({
        roomcast_ghosts: ["count==0"],
        roomcast_leave_duration: ["p(95)<3000"],
        "roomcast_sessions{scenario:visitors}": ["count>0"],
    }),
});
const { settings } = scenario;
export const { options, setup, handleSummary } = scenario;

export async function watch(data: Data): Promise<void> {
    ghosts.add(0);
    const { end, ramp } = wholeRun(settings, data);
    // One watcher a room, and a second one where there are fewer rooms.
    const watchers = { ...settings, sockets: Math.max(2, Math.min(settings.rooms, 100)) };
    await session({
        settings: watchers,
        data,
        // The visitors' last session begins as late as their executor ends.
        end: end + LAST_LEAVES,
        ramp,
        rate: 1,
        stable: false,
        during: async (members) => {
            // Who watches which room is known: all in it at the end are watchers.
            const watching = new Map<string, number>();
            for (const { rooms } of members) for (const room of rooms) watching.set(room, (watching.get(room) ?? 0) + 1);
            const shown = new Map<string, number>();
            for (const { socket } of members) {
                const note = ({ room, count }: { room: string; count: number }): unknown => shown.set(room, count);
                socket.on("presence", note).on("online_users", note);
            }
            await until(end);
            for (const [room, count] of watching) {
                await holds(() => (shown.get(room) ?? count) === count, end + LAST_LEAVES);
                const left = (shown.get(room) ?? count) - count;
                if (left === 0) continue;
                ghosts.add(Math.abs(left));
                complain(`${room} shows ${shown.get(room)} users, ${count} are there`);
            }
        },
    });
}

export async function visit(data: Data): Promise<void> {
    await session({ settings, data, ...shortSession(VISIT), rate: settings.rate / settings.vus, stable: false });
}
