// A long run at a moderate load: what grows with time shows. Now and then a connection is lost and comes back.

import { define, onePerVu, wholeRun } from "../lib/scenario.ts";
import { session, type Data } from "../lib/session.ts";
import { until } from "../lib/time.ts";

/** How often a run loses connections, one of each VU at a time. */
const LOSSES = 12;

const scenario = define({
    name: "soak",
    models: "Hours at a moderate load, in which each VU loses one connection after the other: what grows with time shows.",
    rate: "messages a second, of all members together",
    defaults: { rooms: 10, vus: 10, sockets: 50, rate: 10, duration: "2h" },
    executors: (settings) => ({ soak: onePerVu(settings) }),
    thresholds: () => ({ sio_reconnects: ["count>0"], roomcast_recoveries: ["count>0"] }),
});
const { settings } = scenario;
export const { options, setup, handleSummary } = scenario;

export default async function (data: Data): Promise<void> {
    const { end, ramp } = wholeRun(settings, data);
    const rate = settings.rate / settings.vus;
    await session({
        settings,
        data,
        end,
        ramp,
        rate,
        stable: true,
        member: { reconnection: {} },
        during: async (members) => {
            const began = Date.now();
            for (let loss = 1; loss <= LOSSES; loss++) {
                await until(began + ((end - began) * loss) / (LOSSES + 1));
                members[Math.floor(Math.random() * members.length)]?.socket.drop();
            }
        },
    });
}
