// An average day: people stay in two rooms each and now and then one of them writes.

import { define, onePerVu, wholeRun } from "../lib/scenario.ts";
import { session, type Data } from "../lib/session.ts";

const scenario = define({
    name: "chat",
    models: "An average day: everybody is in two rooms and stays, and now and then somebody writes.",
    rate: "messages a second, of all members together",
    defaults: { rooms: 20, vus: 10, sockets: 20, rate: 20, duration: "2m" },
    executors: (settings) => ({ chat: onePerVu(settings) }),
    thresholds: () => ({}),
});
const { settings } = scenario;
export const { options, setup, handleSummary } = scenario;

export default async function (data: Data): Promise<void> {
    const rate = settings.rate / settings.vus;
    await session({ settings, data, ...wholeRun(settings, data), rate, roomsEach: 2, stable: true });
}
