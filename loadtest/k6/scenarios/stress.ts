// More and more people, to the number that the cluster is said to carry, and back.

import { define, ramping, shortSession } from "../lib/scenario.ts";
import { session, type Data } from "../lib/session.ts";

const scenario = define({
    name: "stress",
    models: "People come and go while their number rises to VUS x SOCKETS, stays there, and falls.",
    rate: "messages a second, of all members together, when all are there",
    defaults: { rooms: 50, vus: 50, sockets: 20, rate: 200, duration: "10m" },
    executors: (settings) => ({
        stress: ramping(
            [
                { share: 0.3, vus: settings.vus },
                { share: 0.5, vus: settings.vus },
                { share: 0.2, vus: 0 },
            ],
            settings,
        ),
    }),
    thresholds: () => ({}),
});
const { settings } = scenario;
const length = Math.min(30_000, settings.duration / 5);
export const { options, setup, handleSummary } = scenario;

export default async function (data: Data): Promise<void> {
    await session({ settings, data, ...shortSession(length), rate: settings.rate / settings.vus, stable: false });
}
