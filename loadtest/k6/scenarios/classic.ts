// The front ends of the classic chats, each in its own vocabulary, beside a native member in the same rooms.

import exec from "k6/execution";
import { ClassicMember, classicRoom } from "../lib/classic.ts";
import { Member } from "../lib/member.ts";
import { userName } from "../lib/names.ts";
import { define, onePerVu, wholeRun, type Thresholds } from "../lib/scenario.ts";
import { counted, LINGER, roomName, SETTLE, type Data } from "../lib/session.ts";
import { DIALECTS, type Dialect } from "../lib/settings.ts";
import { delay, holds, paced, until } from "../lib/time.ts";
import type { Socket } from "../socketio.ts";

const scenario = define({
    name: "classic",
    models: "Front ends of the classic chats, each dialect in its own vocabulary, beside native members in the same rooms.",
    rate: "messages a second, of all members of one dialect together",
    defaults: { rooms: 2, vus: 1, sockets: 10, rate: 5, duration: "1m" },
    executors: (settings) => Object.fromEntries(settings.dialects.map((dialect) => [dialect, onePerVu(settings)])),
    thresholds: ({ dialects }) => {
        const each: Thresholds = {};
        for (const dialect of dialects) each[`roomcast_deliveries{dialect:${dialect}}`] = ["count>0"];
        return each;
    },
});
const { settings } = scenario;
export const { options, setup, handleSummary } = scenario;

export default async function (data: Data): Promise<void> {
    const dialect = DIALECTS.find((name) => name === exec.scenario.name) ?? DIALECTS[0];
    const sockets: Socket[] = [];
    await counted({ dialect }, async () => {
        try {
            await talk(data, dialect, sockets);
        } finally {
            await Promise.all(sockets.map((socket) => socket.disconnect()));
        }
    });
}

/** Opens the connections that it adds to `sockets`. */
async function talk(data: Data, dialect: Dialect, sockets: Socket[]): Promise<void> {
    const { end, ramp } = wholeRun(settings, data);
    const vu = exec.vu.idInTest;
    const name = (member: string): string => userName(data.run, `${vu.toString(36)}.${member}`, end + LINGER);
    const rooms = Array.from({ length: settings.rooms }, (_, i) => `${roomName(data.run, i)}-${dialect}`);
    // The native member is in all of them, and knows the number of the last message.
    const native = new Member({
        baseUrl: settings.baseUrl,
        token: settings.token,
        run: data.run,
        name: name("native"),
        rooms: [...new Set(rooms.map((room) => classicRoom(dialect, room)))],
        tags: { dialect: "native" },
    });
    sockets.push(native.socket);
    if (!(await native.enter())) throw new Error("the native member did not come in");
    const entering: { member: ClassicMember; entered: Promise<boolean> }[] = [];
    for (let i = 0; i < settings.sockets; i++) {
        const room = rooms[i % rooms.length] ?? "";
        const member = new ClassicMember(settings.baseUrl, dialect, data.run, name(i.toString(36)), room);
        sockets.push(member.socket);
        entering.push({ member, entered: member.enter() });
        await delay(ramp / settings.sockets);
    }
    const members: ClassicMember[] = [];
    for (const { member, entered } of entering) if (await entered) members.push(member);
    if (members.length === 0) throw new Error("no member came in");

    const speakers: { say(): Promise<unknown> }[] = [...members, native];
    let turn = 0;
    let unanswered = 0;
    await paced(settings.rate / settings.vus, end, () => {
        unanswered++;
        void speakers[turn++ % speakers.length]?.say().then(() => unanswered--);
    });
    await holds(() => unanswered === 0, end + SETTLE);
    await until(end + LINGER / 3);
    const heads = new Map<string, number>();
    for (const room of native.rooms) heads.set(room, await native.head(room, end + LINGER + SETTLE));
    const deadline = Date.now() + SETTLE;
    await Promise.all(members.map((member) => member.settle(heads.get(member.room) ?? 0, deadline)));
    await native.settle(heads, deadline);
    await until(end + LINGER);
}
