// A session of one VU: its members come in, talk, are checked, and leave together. Called by the scenarios; members are
// member.ts.

import exec from "k6/execution";
import { Member, type MemberOptions } from "./member.ts";
import * as metrics from "./metrics.ts";
import { userName } from "./names.ts";
import type { Settings } from "./settings.ts";
import { delay, holds, paced, until } from "./time.ts";

/** What `setup` gives to all VUs. */
export interface Data {
    /** Begins the names of rooms and users. */
    run: string;
    /** When the VUs begin, in milliseconds since 1970. */
    startAt: number;
}

export interface SessionPlan {
    settings: Settings;
    data: Data;
    /** Until when is sent, in milliseconds since 1970. */
    end: number;
    /** Milliseconds in which the members come in. */
    ramp: number;
    /** Messages a second, of all members of this VU together. */
    rate: number;
    /** Rooms of each member; 1 if absent. */
    roomsEach?: number;
    /** Nobody leaves the rooms before `end`, members of other VUs included. */
    stable: boolean;
    /** More options for each member. */
    member?: Partial<MemberOptions>;
    /** What happens while they talk. */
    during?: (members: Member[]) => Promise<void>;
}

/** From the last send to the leave: time for the last messages to arrive, and for others to be still there. */
export const LINGER = 3_000;
/** How long after the last member the presence of all may take. */
const ALL_SEEN = 3_000;
/** How long the last messages may take. */
export const SETTLE = 10_000;

export const roomName = (run: string, number: number): string => `${run}-room-${number}`;

/** The rooms of the member of that number: neighbours are in different ones. */
export function roomsOf(run: string, rooms: number, each: number, member: number): string[] {
    const numbers = Array.from({ length: Math.min(each, rooms) }, (_, i) => (member + i * Math.ceil(rooms / each)) % rooms);
    return [...new Set(numbers)].map((number) => roomName(run, number));
}

/** Runs a session. Whatever ends it early is counted, and its connections are closed. */
export async function session(plan: SessionPlan): Promise<void> {
    const tags = plan.member?.tags ?? {};
    const all: Member[] = [];
    await counted(tags, async () => {
        try {
            const members = await enter(plan, tags, all);
            if (members.length === 0) throw new Error("no member came in");
            await talk(plan, members);
            await check(plan, members);
            await until(plan.end + LINGER);
        } finally {
            await Promise.all(all.map((member) => member.socket.disconnect()));
        }
    });
}

/** Runs what a VU does as one session, which is counted, and its error, too: k6 would go on as if nothing had happened. */
export async function counted(tags: metrics.Tags, body: () => Promise<void>): Promise<void> {
    metrics.announce(tags);
    try {
        await body();
        metrics.sessions.add(1, tags);
    } catch (error) {
        metrics.sessionErrors.add(1, tags);
        metrics.complain(`a session ended early: ${String(error)}`);
    }
}

/** Those of `all`, the new members, that came in. */
async function enter(plan: SessionPlan, tags: metrics.Tags, all: Member[]): Promise<Member[]> {
    const { settings, data, end, ramp, stable } = plan;
    const vu = exec.vu.idInTest;
    const began = Date.now();
    const entering: Promise<boolean>[] = [];
    for (let i = 0; i < settings.sockets; i++) {
        // The VUs' members come in between each other's.
        const turn = (i + ((vu * 0.618) % 1)) / settings.sockets;
        await until(began + ramp * turn);
        const number = (vu - 1) * settings.sockets + i;
        const id = `${vu.toString(36)}.${i.toString(36)}.${exec.vu.iterationInScenario.toString(36)}`;
        const member = new Member({
            baseUrl: settings.baseUrl,
            token: settings.token,
            run: data.run,
            name: userName(data.run, id, end + LINGER),
            rooms: roomsOf(data.run, settings.rooms, plan.roomsEach ?? 1, number),
            stableFrom: stable ? began + ramp + ALL_SEEN : undefined,
            tags,
            ...plan.member,
        });
        all.push(member);
        entering.push(member.enter());
    }
    const entered = await Promise.all(entering);
    return all.filter((_, i) => entered[i]);
}

async function talk({ rate, end, during }: SessionPlan, members: Member[]): Promise<void> {
    let turn = Math.floor(Math.random() * members.length);
    let unanswered = 0;
    const talking = paced(rate, end, () => {
        const member = members[turn++ % members.length];
        unanswered++;
        void member?.say().then(() => unanswered--);
    });
    await Promise.all([talking, during?.(members)]);
    await holds(() => unanswered === 0, end + SETTLE);
}

async function check({ end }: SessionPlan, members: Member[]): Promise<void> {
    // By then the last messages of other VUs have their offsets, too.
    await until(end + LINGER / 3);
    const heads = new Map<string, number>();
    for (const member of members) {
        for (const room of member.rooms) {
            if (heads.has(room)) continue;
            heads.set(room, await member.head(room, Date.now() + SETTLE));
        }
    }
    const deadline = Date.now() + SETTLE;
    await Promise.all(members.map((member) => member.settle(heads, deadline)));
}

/** Waits, then lets all members drop their connections at once. */
export async function dropAll(members: Member[], at: number): Promise<void> {
    await delay(at - Date.now());
    for (const member of members) member.socket.drop();
}
