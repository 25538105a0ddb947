// Connections at a fixed rate, whether or not the server keeps up: what the cluster accepts.

import { define, shortSession } from "../lib/scenario.ts";
import { session, type Data } from "../lib/session.ts";
import { k6Duration } from "../lib/settings.ts";

/** Milliseconds in which a session sends. */
const LENGTH = 2_000;

const scenario = define({
    name: "connect-storm",
    models: "People connect, join, say one thing and leave, at a fixed rate: the load is in handshakes, names and joins.",
    rate: "sessions a second, each of SOCKETS connections at once",
    defaults: { rooms: 100, vus: 200, sockets: 10, rate: 20, duration: "1m" },
    executors: ({ vus, rate, duration }) => ({
        "connect-storm": {
            executor: "constant-arrival-rate",
            rate: Math.max(1, Math.round(rate)),
            timeUnit: "1s",
            duration: k6Duration(duration),
            preAllocatedVUs: Math.min(vus, Math.ceil(rate * 7)),
            maxVUs: vus,
            gracefulStop: "60s",
        },
    }),
    thresholds: (settings) => ({
        sio_connect_duration: [`p(95)<${3 * settings.p95}`],
        // The rate was not kept: there were not enough VUs.
        dropped_iterations: ["count==0"],
    }),
});
const { settings } = scenario;
export const { options, setup, handleSummary } = scenario;

export default async function (data: Data): Promise<void> {
    const { end } = shortSession(LENGTH);
    await session({ settings, data, end, ramp: 0, rate: 1_000 / LENGTH + 0.5, stable: false });
}
