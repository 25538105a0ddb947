// All connections are lost at the same moment, as when a load balancer restarts, and come back with jitter.

import { define, onePerVu, wholeRun } from "../lib/scenario.ts";
import { dropAll, session, type Data } from "../lib/session.ts";

/** One storm in this time, and at least one. */
const STORM_EVERY = 30_000;

const scenario = define({
    name: "reconnect-storm",
    models: "Every connection is lost at the same moment and returns with jitter, while others write: nobody may miss a message, and nobody is said to have left.",
    rate: "messages a second, of all members together",
    defaults: { rooms: 10, vus: 10, sockets: 50, rate: 20, duration: "2m" },
    executors: (settings) => ({ "reconnect-storm": onePerVu(settings) }),
    thresholds: (settings) => ({
        sio_reconnects: ["count>0"],
        roomcast_recoveries: ["count>0"],
        sio_connect_duration: [`p(95)<${5 * settings.p95}`],
        // A message that is sent again after the storm carries the time of its first attempt that reached the server.
        sio_delivery_duration: [`p(95)<${2 * settings.p95}`],
    }),
});
const { settings } = scenario;
export const { options, setup, handleSummary } = scenario;

export default async function (data: Data): Promise<void> {
    const { end, ramp } = wholeRun(settings, data);
    const storms = Math.max(1, Math.floor(settings.duration / STORM_EVERY));
    await session({
        settings,
        data,
        end,
        ramp,
        rate: settings.rate / settings.vus,
        stable: true,
        member: { reconnection: { minDelay: 500, maxDelay: 5_000, jitter: 0.9 } },
        during: async (members) => {
            const began = data.startAt + ramp;
            for (let storm = 1; storm <= storms; storm++) {
                await dropAll(members, began + ((end - began) * storm) / (storms + 1));
            }
        },
    });
}
