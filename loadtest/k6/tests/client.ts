// The cases of the client, run on the host by client.test.mjs against the official server with the handlers that stand
// there. Each is counted in `cases`; what is wrong is logged.

import { Rate } from "k6/metrics";
import { connect, SocketError, type Socket, type SocketOptions } from "../socketio.ts";
import { delay, holds } from "../lib/time.ts";

const cases = new Rate("cases");
const url = __ENV["BASE_URL"] ?? "";

export const options = {
    scenarios: { client: { executor: "per-vu-iterations", vus: 1, iterations: 1, maxDuration: "60s" } },
    thresholds: {
        cases: ["rate==1"],
        sio_events_received: ["count>0"],
        "sio_connect_duration{scenario:client}": ["p(95)<5000"],
        sio_reconnects: ["count>0"],
        "sio_disconnects{reason:ping timeout}": ["count==1"],
        "sio_connect_errors{reason:forbidden}": ["count==2"],
    },
};

function equal(actual: unknown, expected: unknown): void {
    const [seen, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
    if (seen !== wanted) throw new Error(`${seen} instead of ${wanted}`);
}

async function failure(promise: Promise<unknown>): Promise<SocketError> {
    try {
        await promise;
    } catch (error) {
        if (error instanceof SocketError) return error;
        throw error;
    }
    throw new Error("it did not fail");
}

const bytes = (value: unknown): number[] => Array.from(new Uint8Array(value as ArrayBuffer));
const soon = (condition: () => boolean): Promise<boolean> => holds(condition, Date.now() + 5_000);

/** The cases of both transports. */
function common(options: SocketOptions): Record<string, () => Promise<void>> {
    const open = (more: SocketOptions = {}): Promise<Socket> => connect(url, { ...options, ...more }).whenConnected();
    return {
        "an event is acknowledged": async () => {
            const socket = await open();
            equal(await socket.emitWithAck("echo", { a: [1, "ö 李 🦀"] }, null), [{ a: [1, "ö 李 🦀"] }, null]);
            equal(socket.id.length > 0, true);
            await socket.disconnect();
        },
        "events come in the order in which they were sent": async () => {
            const socket = await open();
            const seen: number[] = [];
            socket.on("numbered", (number: number) => seen.push(number));
            for (let i = 0; i < 50; i++) socket.emit("number", i);
            await soon(() => seen.length === 50);
            equal(seen, Array.from({ length: 50 }, (_, i) => i));
            await socket.disconnect();
        },
        "the auth is sent, also with a namespace of its own": async () => {
            const socket = await open({ namespace: "/room", auth: { username: "ann" }, query: { some: "a b&c" } });
            equal(await socket.emitWithAck("who"), { auth: { username: "ann" }, query: "a b&c" });
            await socket.disconnect();
        },
        "a refusal is final and carries what the server said": async () => {
            const socket = connect(url, { ...options, namespace: "/forbidden", reconnection: { minDelay: 1 } });
            const error = await failure(socket.whenConnected());
            equal([error.kind, error.message, error.data], ["refused", "forbidden", { code: 7 }]);
            equal(socket.ended, true);
            equal((await failure(socket.emitWithAck("echo"))).kind, "disconnected");
        },
        "attachments go both ways": async () => {
            const socket = await open();
            const sent = { one: new Uint8Array([1, 2, 255]).buffer, more: [new Uint8Array([7]).buffer, new ArrayBuffer(0)] };
            const [back] = (await socket.emitWithAck("echo", sent)) as [{ one: ArrayBuffer; more: ArrayBuffer[] }];
            equal([bytes(back.one), back.more.map(bytes)], [[1, 2, 255], [[7], []]]);
            const events: unknown[][] = [];
            socket.on("bytes", (...args: unknown[]) => events.push(args));
            socket.emit("send bytes", new Uint8Array([5, 6]));
            await soon(() => events.length === 1);
            equal([bytes(events[0]?.[0]), events[0]?.[1]], [[5, 6], "after"]);
            await socket.disconnect();
        },
        "a missing acknowledgement is a timeout": async () => {
            const socket = await open();
            const error = await failure(socket.timeout(200).emitWithAck("silence"));
            equal([error.kind, error.message], ["timeout", "silence was not acknowledged within 200 ms"]);
            equal(await socket.emitWithAck("echo", 1), [1]);
            await socket.disconnect();
        },
        "the server may ask for an acknowledgement": async () => {
            const socket = await open();
            socket.on("question", (number: number, answer: (...values: unknown[]) => void) => answer(number + 1, new ArrayBuffer(2)));
            equal(await socket.emitWithAck("ask me", 41), [42, 2]);
            await socket.disconnect();
        },
        "the server may end the namespace, which is final": async () => {
            const socket = await open({ reconnection: { minDelay: 1 } });
            const reasons: string[] = [];
            socket.on("disconnect", (reason: string) => reasons.push(reason));
            socket.emit("disconnect me");
            await soon(() => reasons.length > 0);
            equal([reasons, socket.ended], [["io server disconnect"], true]);
        },
        "a lost connection comes back, with another auth": async () => {
            let since = 0;
            const auth = (): object => ({ since: since++ });
            const socket = await open({ auth, namespace: "/room", reconnection: { minDelay: 50, jitter: 0.5 } });
            const first = socket.id;
            const lost = failure(socket.emitWithAck("silence"));
            const delays: number[] = [];
            socket.on("reconnecting", (ms: number) => delays.push(ms));
            socket.emit("cut me");
            equal((await lost).kind, "disconnected");
            await soon(() => socket.connected);
            equal(await socket.emitWithAck("who"), { auth: { since: 1 } });
            equal([socket.id !== first, delays.length, (delays[0] ?? 0) >= 25 && (delays[0] ?? 0) <= 75], [true, 1, true]);
            socket.drop();
            equal([socket.connected, socket.ended], [false, false]);
            await socket.whenConnected();
            equal(await socket.emitWithAck("who"), { auth: { since: 2 } });
            await socket.disconnect();
        },
        "a clean close says so to the server": async () => {
            const watcher = await open();
            const socket = await open();
            const { id } = socket;
            await socket.disconnect();
            equal(socket.ended, true);
            let reason: unknown = null;
            for (let i = 0; i < 100 && reason === null; i++) reason = await watcher.emitWithAck("why", id);
            equal(reason, "client namespace disconnect");
            await watcher.disconnect();
        },
        "heartbeats keep a quiet connection alive": async () => {
            const socket = await open();
            await delay(1_500);
            equal([socket.connected, await socket.emitWithAck("echo", 1)], [true, [1]]);
            await socket.disconnect();
        },
    };
}

const others: Record<string, () => Promise<void>> = {
    "a server that is silent is given up": async () => {
        const socket = connect(__ENV["SILENT_URL"] ?? "");
        const reasons: string[] = [];
        socket.on("disconnect", (reason: string) => reasons.push(reason));
        await socket.whenConnected();
        await soon(() => socket.ended);
        equal(reasons, ["ping timeout"]);
    },
    "nobody who listens is a failure, after all attempts": async () => {
        const socket = connect("http://127.0.0.1:1", { reconnection: { minDelay: 5, maxDelay: 10, attempts: 2 } });
        let tried = 0;
        socket.on("connect_error", () => tried++);
        equal((await failure(socket.whenConnected())).kind, "disconnected");
        equal([tried, socket.ended], [3, true]);
    },
    "a connection that takes too long is given up": async () => {
        const socket = connect(__ENV["MUTE_URL"] ?? "", { connectTimeout: 200 });
        equal((await failure(socket.whenConnected())).message, "timeout");
    },
    "a slow poller gets everything, later": async () => {
        const socket = await connect(url, { transport: "polling", pollPause: 300 }).whenConnected();
        const seen: number[] = [];
        const began = Date.now();
        socket.on("numbered", (number: number) => seen.push(number));
        for (let i = 0; i < 20; i++) socket.emit("number", i);
        await soon(() => seen.length === 20);
        equal([seen.length, Date.now() - began > 200], [20, true]);
        await socket.disconnect();
    },
};

export default async function (): Promise<void> {
    const all: [string, () => Promise<void>][] = [
        ...Object.entries(common({})),
        ...Object.entries(common({ transport: "polling" })).map(([name, run]): [string, () => Promise<void>] => [`polling: ${name}`, run]),
        ...Object.entries(others),
    ];
    for (const [name, run] of all) {
        try {
            await run();
            cases.add(true);
            console.log(`ok: ${name}`);
        } catch (error) {
            cases.add(false);
            console.error(`not ok: ${name}: ${String(error)}`);
        }
    }
}
