// A quiet chat, and suddenly everybody comes: an announcement, a match, a breakdown elsewhere.

import { define, ramping, shortSession } from "../lib/scenario.ts";
import { session, type Data } from "../lib/session.ts";

const QUIET = 0.1;

const scenario = define({
    name: "spike",
    models: "A tenth of the people, then all within moments, then a tenth again.",
    rate: "messages a second, of all members together, when all are there",
    defaults: { rooms: 20, vus: 50, sockets: 20, rate: 100, duration: "3m" },
    executors: (settings) => {
        const few = Math.max(1, settings.vus * QUIET);
        return {
            spike: ramping(
                [
                    { share: 0.3, vus: few },
                    { share: 0.05, vus: settings.vus },
                    { share: 0.3, vus: settings.vus },
                    { share: 0.05, vus: few },
                    { share: 0.3, vus: few },
                ],
                settings,
                few,
            ),
        };
    },
    thresholds: (settings) => ({ sio_connect_duration: [`p(95)<${5 * settings.p95}`] }),
});
const { settings } = scenario;
const length = Math.min(20_000, settings.duration / 6);
export const { options, setup, handleSummary } = scenario;

export default async function (data: Data): Promise<void> {
    await session({ settings, data, ...shortSession(length), rate: settings.rate / settings.vus, stable: false });
}
