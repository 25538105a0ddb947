// Whether everything works at all: a few people talk, and a visitor uses each event once.

import http from "k6/http";
import { Rate } from "k6/metrics";
import { Member } from "../lib/member.ts";
import { complain } from "../lib/metrics.ts";
import { userName } from "../lib/names.ts";
import { define, onePerVu, wholeRun } from "../lib/scenario.ts";
import { session, type Data } from "../lib/session.ts";
import { delay, holds, until } from "../lib/time.ts";

const eventsOk = new Rate("roomcast_events_ok");

const scenario = define({
    name: "smoke",
    models: "A few people talk, and a visitor uses each event once: whether everything works at all.",
    rate: "messages a second, of all members together",
    defaults: { rooms: 1, vus: 1, sockets: 5, rate: 5, duration: "10s" },
    executors: (settings) => ({ smoke: onePerVu(settings) }),
    thresholds: () => ({ roomcast_events_ok: ["rate==1"] }),
});
const { settings } = scenario;
export const { options, setup, handleSummary } = scenario;

/** The smallest PNG: one grey pixel. */
const PIXEL = [
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, 0x49, 0x48, 0x44, 0x52, 0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0,
    0, 0x3a, 0x7e, 0x9b, 0x55, 0, 0, 0, 0x0a, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x68, 0, 0, 0, 0x82, 0, 0x81, 0x77,
    0xcd, 0x72, 0xb6, 0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];
const STAY = 5_000;

interface Answer {
    status: string;
    [field: string]: unknown;
}

function ok(what: string, condition: boolean, seen: unknown): void {
    eventsOk.add(condition);
    if (!condition) complain(`${what}: ${JSON.stringify(seen) ?? "no answer"}`);
}

/** Somebody who comes for a moment, does everything once, and leaves. */
async function visit(data: Data, host: Member): Promise<void> {
    const leaves = Date.now() + STAY;
    const visitor = new Member({
        baseUrl: settings.baseUrl,
        token: settings.token,
        run: data.run,
        name: userName(data.run, `visitor.${host.name.split("-")[1]}`, leaves),
        rooms: host.rooms,
        tags: {},
    });
    if (!(await visitor.enter())) return;
    try {
        await useAll(visitor, host);
        await until(leaves);
        await ask(visitor, "leave", { room: visitor.rooms[0] });
    } finally {
        await visitor.socket.disconnect();
    }
}

async function ask(member: Member, event: string, payload: object): Promise<Answer | undefined> {
    const answer = (await member.request(event, payload)) as Answer | undefined;
    ok(event, answer?.status === "ok", answer);
    return answer;
}

async function useAll(visitor: Member, host: Member): Promise<void> {
    const room = host.rooms[0] ?? "";
    const received: unknown[] = [];
    host.socket.on("private_message", (message: { text?: string }) => received.push(message.text));
    await ask(visitor, "typing", { room, typing: true });
    await visitor.say();
    await ask(visitor, "history", { room, limit: 10 });
    await ask(visitor, "rooms", { limit: 10 });
    await ask(visitor, "online_users", { room });
    await ask(visitor, "private_message", { to: host.name, text: "hello" });
    ok("the private message came", await holds(() => received.includes("hello"), Date.now() + STAY), received);
    const image = await ask(visitor, "send_image", { room, image: new Uint8Array(PIXEL).buffer, alt: "a pixel" });
    const url = String(image?.["url"] ?? "");
    const fetched = await http.asyncRequest("GET", url.startsWith("http") ? url : `${settings.baseUrl}${url}`, null, {
        tags: { name: "image" },
        responseType: "none",
    });
    ok("the image can be read", fetched.status === 200, fetched.status);
    const refused = (await visitor.request("send_message", { room, text: "" })) as Answer | undefined;
    ok("an empty text is refused", refused?.["code"] === "bad_text", refused);
}

export default async function (data: Data): Promise<void> {
    await session({
        settings,
        data,
        ...wholeRun(settings, data),
        rate: settings.rate / settings.vus,
        // The visitor leaves.
        stable: false,
        during: async ([host]) => {
            await delay(200);
            if (host) await visit(data, host);
        },
    });
}
