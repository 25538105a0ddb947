// Ever more sessions a second, whether or not the server keeps up, until a threshold breaks.

import { define, shortSession } from "../lib/scenario.ts";
import { session, type Data } from "../lib/session.ts";
import { k6Duration } from "../lib/settings.ts";

/** Milliseconds in which a session sends. */
const LENGTH = 5_000;
/** Messages a second, of all members of a session. */
const MESSAGES = 2;

const scenario = define({
    name: "breakpoint",
    models: "Sessions begin at a rate that rises from nothing to RATE; the run ends where acknowledgements or deliveries become too slow, or anything is lost.",
    rate: "sessions a second, each of SOCKETS connections, at the end",
    defaults: { rooms: 50, vus: 500, sockets: 10, rate: 50, duration: "10m" },
    executors: ({ vus, rate, duration }) => ({
        breakpoint: {
            executor: "ramping-arrival-rate",
            startRate: 1,
            timeUnit: "1s",
            // As many as are needed at the end, a session with its leave taking longer than it sends.
            preAllocatedVUs: Math.min(vus, Math.ceil((rate * LENGTH * 2) / 1_000)),
            maxVUs: vus,
            stages: [{ duration: k6Duration(duration), target: Math.max(1, Math.round(rate)) }],
            gracefulStop: "60s",
        },
    }),
    thresholds: ({ p95 }) => {
        const ends = (threshold: string) => [{ threshold, abortOnFail: true, delayAbortEval: "5s" }];
        return {
            sio_ack_duration: ends(`p(95)<${p95}`),
            sio_delivery_duration: ends(`p(95)<${p95}`),
            roomcast_missing: ends("count==0"),
            roomcast_send_errors: ends("count==0"),
            sio_connect_errors: ends("count==0"),
        };
    },
});
const { settings } = scenario;
export const { options, setup, handleSummary } = scenario;

export default async function (data: Data): Promise<void> {
    await session({ settings, data, ...shortSession(LENGTH), rate: MESSAGES, stable: false });
}
