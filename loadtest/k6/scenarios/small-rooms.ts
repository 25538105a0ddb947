// Many rooms of a few members each: the cost is in rooms, not in members.

import { define, onePerVu, wholeRun } from "../lib/scenario.ts";
import { session, type Data } from "../lib/session.ts";

const scenario = define({
    name: "small-rooms",
    models: "Many rooms of three members each: the load is in the number of rooms.",
    rate: "messages a second, of all members together",
    defaults: { rooms: 400, vus: 20, sockets: 60, rate: 100, duration: "2m" },
    executors: (settings) => ({ "small-rooms": onePerVu(settings) }),
    thresholds: () => ({}),
});
const { settings } = scenario;
export const { options, setup, handleSummary } = scenario;

export default async function (data: Data): Promise<void> {
    const rate = settings.rate / settings.vus;
    await session({ settings, data, ...wholeRun(settings, data), rate, stable: true });
}
