// Some clients read slowly. k6 reads a WebSocket as fast as it can, so the slow ones use long-polling and wait between
// polls: what they do not fetch, the gateway has to keep or give up.

import { define, onePerVu, wholeRun } from "../lib/scenario.ts";
import { session, type Data } from "../lib/session.ts";

/** Milliseconds between two polls, each of which takes at most 16 packets. */
const PAUSE = 2_000;

const scenario = define({
    name: "slow-readers",
    models: "Next to members that read at once, some fetch their messages seldom: the others must not notice, and the slow ones get everything in the end.",
    rate: "messages a second, of all members together",
    defaults: { rooms: 2, vus: 5, sockets: 20, rate: 40, duration: "1m" },
    executors: (settings) => ({
        fast: onePerVu(settings, { exec: "fast" }),
        slow: onePerVu({ ...settings, vus: 1 }, { exec: "slow" }),
    }),
    thresholds: ({ p95 }) => ({
        "roomcast_deliveries{reader:fast}": ["count>0"],
        "roomcast_deliveries{reader:slow}": ["count>0"],
        "roomcast_resyncs{reader:fast}": ["count==0"],
        "sio_ack_duration{reader:fast}": [`p(95)<${p95}`],
        "sio_delivery_duration{reader:fast}": [`p(95)<${p95}`],
        "sio_disconnects{reader:fast}": ["count==0"],
        // A slow one may be disconnected when its queue is full, and lose its place in a log that went on without it.
        roomcast_resyncs: [],
        sio_disconnects: [],
        sio_ack_ok: ["rate>0.9"],
        sio_ack_duration: [],
        sio_delivery_duration: [],
        sio_connect_duration: [],
    }),
});
const { settings } = scenario;
export const { options, setup, handleSummary } = scenario;

export async function fast(data: Data): Promise<void> {
    const rate = settings.rate / settings.vus;
    const member = { tags: { reader: "fast" } };
    await session({ settings, data, ...wholeRun(settings, data), rate, stable: true, member });
}

export async function slow(data: Data): Promise<void> {
    const { end, ramp } = wholeRun(settings, data);
    // Afterwards they fetch what is left as fast as they can.
    const pollPause = (): number => (Date.now() < end ? PAUSE : 0);
    const member = { tags: { reader: "slow" }, transport: "polling" as const, pollPause };
    // They write nothing: their acknowledgements would wait behind all that they have not read.
    await session({ settings, data, end, ramp, rate: 0, stable: true, member });
}
