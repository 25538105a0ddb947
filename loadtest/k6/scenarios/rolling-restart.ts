// Gateways are restarted one after the other meanwhile, by the operator: the script cannot do that.

import { define, onePerVu, wholeRun } from "../lib/scenario.ts";
import { session, type Data } from "../lib/session.ts";

const scenario = define({
    name: "rolling-restart",
    models: "The operator restarts the gateways one after the other during the run: connections move, messages and presence do not suffer.",
    rate: "messages a second, of all members together",
    defaults: { rooms: 10, vus: 10, sockets: 50, rate: 20, duration: "5m" },
    executors: (settings) => ({ "rolling-restart": onePerVu(settings) }),
    thresholds: () => ({
        // A run without a restart says nothing: the server must have closed connections.
        sio_disconnects: ["count>0"],
        sio_reconnects: ["count>0"],
        roomcast_recoveries: ["count>0"],
        // A gateway that is not there yet refuses connections, and acknowledgements are lost with a connection.
        sio_connect_errors: [],
        sio_ack_ok: ["rate>0.9"],
    }),
});
const { settings } = scenario;
export const { options, setup, handleSummary } = scenario;

export default async function (data: Data): Promise<void> {
    await session({
        settings,
        data,
        ...wholeRun(settings, data),
        rate: settings.rate / settings.vus,
        stable: true,
        member: { reconnection: { minDelay: 200, maxDelay: 5_000 } },
    });
}
