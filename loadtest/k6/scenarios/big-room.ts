// One room in which everybody is: each message goes to all.

import { define, onePerVu, wholeRun } from "../lib/scenario.ts";
import { session, type Data } from "../lib/session.ts";

const scenario = define({
    name: "big-room",
    models: "One room with everybody in it: each message is delivered to all of them.",
    rate: "messages a second, of all members together",
    defaults: { rooms: 1, vus: 10, sockets: 100, rate: 5, duration: "1m" },
    executors: (settings) => ({ "big-room": onePerVu(settings) }),
    thresholds: () => ({}),
});
const settings = { ...scenario.settings, rooms: 1 };
export const { options, setup, handleSummary } = scenario;

export default async function (data: Data): Promise<void> {
    const rate = settings.rate / settings.vus;
    await session({ settings, data, ...wholeRun(settings, data), rate, stable: true });
}
