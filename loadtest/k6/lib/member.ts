// A member of rooms, in Roomcast's own vocabulary: joins, sends, joins again after a lost connection, and checks all that
// it receives. Called by session.ts and scenarios; the connection is socketio.ts.

import { clearTimeout, setTimeout } from "k6/timers";
import { connect, type Backoff, type Socket } from "../socketio.ts";
import { RoomChecker, type JoinAnswer, type Position } from "./checker.ts";
import * as metrics from "./metrics.ts";
import { leavesTooEarly, staysUntil } from "./names.ts";
import { delay, holds } from "./time.ts";

export interface MemberOptions {
    baseUrl: string;
    token: string | undefined;
    run: string;
    /** A name of names.ts. */
    name: string;
    rooms: string[];
    /** From then until the time in this member's name, everybody is in these rooms and nobody leaves; milliseconds since 1970. */
    stableFrom?: number | undefined;
    tags: metrics.Tags;
    transport?: "websocket" | "polling";
    pollPause?: () => number;
    reconnection?: Partial<Backoff>;
}

interface Answer {
    status: "ok" | "error";
    code?: string;
    number?: number;
    message?: string;
    retry_after_ms?: number;
}

interface Presence {
    room: string;
    joined: string[];
    left: string[];
    count: number;
}

interface OnlineUsers {
    room: string;
    count: number;
}

/** From this number on, the same request may succeed later. */
const RETRYABLE = 3_000;
const ENTER_TIMEOUT = 60_000;
/** How long a message is sent again before it counts as given up. */
const SEND_TIMEOUT = 30_000;
const PADDING = "x".repeat(80);

/** A text that carries the time at which it is sent. */
export const timedText = (): string => `${Date.now()} ${PADDING}`;

/** The time in a text, in milliseconds since 1970; undefined if it has none. */
export function timeIn(text: unknown): number | undefined {
    if (typeof text !== "string") return undefined;
    const time = Number.parseInt(text, 10);
    return time > 1_600_000_000_000 ? time : undefined;
}

const retryDelay = (answer: Answer): number => (answer.retry_after_ms ?? 500) * (0.5 + Math.random());

export class Member {
    readonly name: string;
    readonly rooms: string[];
    readonly socket: Socket;
    private readonly options: MemberOptions;
    private readonly checkers = new Map<string, RoomChecker>();
    private readonly counts = new Map<string, number>();
    private readonly until: number;
    private readonly messageIds = Math.random().toString(36).slice(2, 12);
    private sent = 0;
    private joined = 0;
    private entering: Promise<boolean>;
    private finishEntering: (problem: string) => void = () => {};

    /** Connects and joins; `enter` waits for that. */
    constructor(options: MemberOptions) {
        const { baseUrl, token, name, rooms, tags } = options;
        this.options = options;
        this.name = name;
        this.rooms = rooms;
        this.until = staysUntil(options.run, name) ?? 0;
        for (const room of rooms) {
            this.checkers.set(room, new RoomChecker(metrics.checkerCounts(tags, `${name} in ${room}`)));
        }
        this.socket = connect(baseUrl, {
            namespace: "/native",
            auth: { username: name, resume: `secret of ${name} ${this.messageIds}`, ...(token ? { token } : {}) },
            tags,
            transport: options.transport ?? "websocket",
            pollPause: options.pollPause ?? 0,
            reconnection: options.reconnection ?? {},
            sentAt: (event, [payload]) =>
                event === "message" ? timeIn((payload as { text?: unknown }).text) : undefined,
        });
        this.socket.on("connect", () => rooms.forEach((room) => this.join(room)));
        this.socket.on("message", (message: Position & { room: string }) => this.message(message));
        this.socket.on("presence", (presence: Presence) => this.presence(presence));
        this.socket.on("online_users", ({ room, count }: OnlineUsers) => this.counted(room, count, true));
        this.socket.on("resync", (at: { room: string; epoch: string }) => this.checkers.get(at.room)?.resync(at));
        this.socket.on("connect_error", (error: Error) => this.ended(error.message));
        this.socket.on("disconnect", (reason: string) => this.ended(reason));
        this.entering = new Promise((resolve) => {
            const timer = setTimeout(() => this.finishEntering("no answer in time"), ENTER_TIMEOUT);
            this.finishEntering = (problem) => {
                this.finishEntering = () => {};
                clearTimeout(timer);
                this.countEntering(problem);
                resolve(problem === "");
            };
        });
    }

    /** Waits until it is in all its rooms; false, counted and logged, if it does not come in. */
    enter(): Promise<boolean> {
        return this.entering;
    }

    /** Sends a message to one of its rooms, again with the same id where that may help. */
    async say(): Promise<void> {
        const room = this.rooms[Math.floor(Math.random() * this.rooms.length)] ?? "";
        const id = `${this.messageIds}-${this.sent++}`;
        const { tags } = this.options;
        const deadline = Date.now() + SEND_TIMEOUT;
        let problem = "";
        for (let attempt = 0; Date.now() < deadline; attempt++) {
            if (!(await holds(() => this.socket.connected || this.socket.ended, deadline)) || this.socket.ended) break;
            if (attempt > 0) metrics.sendRetries.add(1, tags);
            const answer = await this.request("send_message", { room, text: timedText(), id });
            if (answer?.status === "ok") {
                metrics.sends.add(1, tags);
                this.checkers.get(room)?.acknowledged(answer as unknown as Position);
                return;
            }
            problem = answer ? `${answer.code}: ${answer.message}` : "no answer";
            if (answer && (answer.number ?? 0) < RETRYABLE) break;
            await delay(answer ? retryDelay(answer) : 100);
        }
        metrics.sendErrors.add(1, tags);
        metrics.complain(`${this.name} could not send to ${room}: ${problem || "no connection"}`);
    }

    /** The offset of a room's last message, from the server; throws if it does not say that in time. */
    async head(room: string, deadline: number): Promise<number> {
        for (;;) {
            const answer = await this.request("history", { room, limit: 1 });
            if (answer?.status === "ok") {
                const { messages } = answer as unknown as { messages: Position[] };
                return messages[messages.length - 1]?.offset ?? 0;
            }
            if (Date.now() >= deadline) throw new Error(`the server does not say which message of ${room} is the last`);
            await delay(250);
        }
    }

    /** Waits until all messages up to these offsets have come, and counts those that have not by then. */
    async settle(heads: Map<string, number>, deadline: number): Promise<void> {
        for (const room of this.rooms) {
            const head = heads.get(room) ?? 0;
            const checker = this.checkers.get(room);
            await holds(() => checker?.settled(head, Date.now()) ?? true, deadline);
            checker?.finish(head);
        }
    }

    /** The answer of the server; undefined if there is none. */
    async request(event: string, payload: object): Promise<Answer | undefined> {
        try {
            return (await this.socket.emitWithAck(event, payload)) as Answer;
        } catch {
            return undefined;
        }
    }

    private ended(reason: string): void {
        if (this.socket.ended) this.finishEntering(reason);
    }

    private countEntering(problem: string): void {
        const { tags } = this.options;
        if (problem === "") return metrics.joins.add(1, tags);
        metrics.joinErrors.add(1, tags);
        metrics.complain(`${this.name} could not join: ${problem}`);
        void this.socket.disconnect();
    }

    private join(room: string): void {
        const checker = this.checkers.get(room);
        const since = checker?.since;
        const payload = since ? { room, since } : { room, limit: 0 };
        // Not a promise: messages that come with the answer must find it read.
        this.socket.call("join", [payload], (error, value) => {
            if (error) {
                // After a lost connection, the next one joins.
                if (error.kind === "timeout") this.join(room);
                return;
            }
            const answer = value as Answer;
            if (answer.status === "ok") return this.entered(room, answer as unknown as JoinAnswer, since !== undefined);
            if ((answer.number ?? 0) >= RETRYABLE) {
                setTimeout(() => this.join(room), retryDelay(answer));
                return;
            }
            this.finishEntering(`${answer.code}: ${answer.message}`);
        });
    }

    private entered(room: string, answer: JoinAnswer, again: boolean): void {
        const checker = this.checkers.get(room);
        if (!again) {
            checker?.joined(answer);
            if (++this.joined === this.rooms.length) this.finishEntering("");
            return;
        }
        metrics.deliveries.add(answer.messages.length, this.options.tags);
        checker?.rejoined(answer, Date.now());
    }

    private message(message: Position & { room: string }): void {
        metrics.deliveries.add(1, this.options.tags);
        this.checkers.get(message.room)?.message(message, Date.now());
    }

    private presence({ room, joined, left, count }: Presence): void {
        const now = Date.now();
        for (const user of left) {
            if (leavesTooEarly(this.options.run, user, now)) {
                metrics.unexplainedLeaves.add(1, this.options.tags);
                metrics.complain(`${this.name} in ${room}: ${user} is said to have left`);
            } else {
                metrics.leaveDuration.add(Math.max(0, now - (staysUntil(this.options.run, user) ?? now)), this.options.tags);
            }
        }
        this.counted(room, count, joined.length + left.length === 0);
    }

    /** The number of users in a room: where nobody leaves, it may not fall in a list, or in a change without names. */
    private counted(room: string, count: number, judged: boolean): void {
        const most = this.counts.get(room) ?? 0;
        // Until all are there, a snapshot may come before changes that are older than it.
        this.counts.set(room, Math.max(most, count));
        const now = Date.now();
        const { stableFrom = Infinity, tags } = this.options;
        if (!judged || count >= most || now < stableFrom || now >= this.until - 500) return;
        this.counts.set(room, count);
        metrics.unexplainedLeaves.add(most - count, tags);
        metrics.complain(`${this.name} in ${room}: ${most} users became ${count}`);
    }
}
