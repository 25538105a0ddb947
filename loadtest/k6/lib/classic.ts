// Members that speak the vocabulary of a classic chat, and check what they receive by the numbers that the gateway adds
// to each message. Called by scenarios/classic.ts; the connection is socketio.ts.

import { connect, type Socket } from "../socketio.ts";
import { RoomChecker } from "./checker.ts";
import { timedText, timeIn } from "./member.ts";
import * as metrics from "./metrics.ts";
import { leavesTooEarly } from "./names.ts";
import type { Dialect } from "./settings.ts";
import { holds } from "./time.ts";

type Fields = Record<string, unknown>;
type Event = [name: string, payload: Fields];

interface Vocabulary {
    /** Absent where there are no rooms. */
    join?: (name: string, room: string) => Event;
    say: (name: string, room: string, text: string) => Event;
    /** The event of messages, which may also carry other things. */
    message: string;
    text: (payload: Fields) => unknown;
    /** The user whose leave a payload announces. */
    left?: (payload: Fields) => string | undefined;
    /** The event that announces leaves. */
    leaves?: string;
    /** Whether a sender is sent its own messages. */
    echoes: boolean;
    /** Whether names are proved when connecting. */
    proved: boolean;
    /** Whether names of users and rooms are upper-case. */
    upperCase: boolean;
    /** The room that all share, where there are no others. */
    sharedRoom?: string;
}

const ordinary = { echoes: true, proved: false, upperCase: false };

const VOCABULARIES: Record<Dialect, Vocabulary> = {
    flocker: {
        ...ordinary,
        join: (username, room) => ["join", { username, room }],
        say: (username, room, msg) => ["send_message", { username, room, msg }],
        message: "message",
        text: ({ msg }) => msg,
        left: ({ username, msg }) => (username === "System" ? /^(\S+) left /.exec(String(msg))?.[1] : undefined),
        leaves: "message",
    },
    abidev: {
        ...ordinary,
        say: (client, _, message) => ["message broadcast", { client, message }],
        message: "message receive",
        text: ({ message }) => message,
        sharedRoom: "general",
    },
    "flask-chat-app": {
        ...ordinary,
        join: (username, room) => ["join_room", { username, room }],
        say: (username, room, message) => ["send_message", { username, room, message }],
        message: "receive_message",
        text: ({ message }) => message,
        left: ({ username }) => String(username),
        leaves: "leave_room_announcement",
    },
    ribbit: {
        ...ordinary,
        proved: true,
        join: (_, threadId) => ["join", { threadId }],
        say: (_, threadId, message) => ["chat", { threadId, message }],
        message: "chat",
        text: ({ message }) => message,
    },
    "private-rooms": {
        ...ordinary,
        echoes: false,
        upperCase: true,
        join: (user, room) => ["chat", { event: "join", user, room }],
        say: (_, room, text) => ["chat", { event: "chat", room, text }],
        message: "chat",
        text: ({ type, message }) => (type === "chat" ? message : undefined),
        left: ({ type, message }) =>
            type === "deluser" ? /^User (\S+) left room /.exec(String(message))?.[1] : undefined,
        leaves: "chat",
    },
};

/** The room of members of a dialect, as the dialect and native clients name it. */
export function classicRoom(dialect: Dialect, room: string): string {
    const { sharedRoom, upperCase } = VOCABULARIES[dialect];
    return sharedRoom ?? (upperCase ? room.toUpperCase() : room);
}

/** The user who left, if a payload of the event that announces leaves says that somebody did. */
export const userWhoLeft = (dialect: Dialect, payload: Fields): string | undefined => VOCABULARIES[dialect].left?.(payload);

interface Answer {
    status?: string;
    code?: string;
    message?: string;
    offset?: number;
}

export class ClassicMember {
    readonly name: string;
    readonly room: string;
    readonly socket: Socket;
    private readonly vocabulary: Vocabulary;
    private readonly checker: RoomChecker;
    private readonly tags: metrics.Tags;

    constructor(baseUrl: string, dialect: Dialect, run: string, name: string, room: string) {
        const vocabulary = VOCABULARIES[dialect];
        this.vocabulary = vocabulary;
        this.tags = { dialect };
        this.name = vocabulary.upperCase ? name.toUpperCase() : name;
        this.room = classicRoom(dialect, room);
        this.checker = new RoomChecker(metrics.checkerCounts(this.tags, `${this.name} in ${this.room}`));
        this.socket = connect(baseUrl, {
            namespace: `/${dialect}`,
            ...(vocabulary.proved ? { auth: { username: this.name, resume: `secret of ${this.name}` } } : {}),
            tags: this.tags,
            sentAt: (event, [payload]) =>
                event === vocabulary.message ? timeIn(vocabulary.text(payload as Fields)) : undefined,
        });
        this.socket.on(vocabulary.message, (payload: unknown) => this.received(payload));
        const { leaves } = vocabulary;
        if (leaves === undefined) return;
        this.socket.on(leaves, (payload: unknown) => {
            if (typeof payload === "object" && payload !== null) this.left(userWhoLeft(dialect, payload as Fields), run);
        });
    }

    /** Connects, takes its name, joins, and says the first message; false, counted and logged, if it cannot. */
    async enter(): Promise<boolean> {
        try {
            await this.socket.whenConnected();
            const { join } = this.vocabulary;
            const answer = join ? await this.ask(join(this.name, this.room)) : { status: "ok" };
            // The first message takes the name where there is no join, and from it on all must come.
            if (answer.status === "ok" && (await this.say())) {
                metrics.joins.add(1, this.tags);
                return true;
            }
            throw new Error(`${answer.code}: ${answer.message}`);
        } catch (error) {
            metrics.joinErrors.add(1, this.tags);
            metrics.complain(`${this.name} could not join: ${String(error)}`);
            void this.socket.disconnect();
            return false;
        }
    }

    /** Sends a message, once: these chats have no ids by which it could be sent again. */
    async say(): Promise<boolean> {
        try {
            const answer = await this.ask(this.vocabulary.say(this.name, this.room, timedText()));
            if (answer.status !== "ok") throw new Error(`${answer.code}: ${answer.message}`);
            metrics.sends.add(1, this.tags);
            const stamp = { epoch: "", offset: answer.offset ?? 0 };
            if (this.vocabulary.echoes) this.checker.acknowledged(stamp);
            else this.checker.ownMessage(stamp);
            return true;
        } catch (error) {
            metrics.sendErrors.add(1, this.tags);
            metrics.complain(`${this.name} could not send to ${this.room}: ${String(error)}`);
            return false;
        }
    }

    /** Waits until all messages up to this offset have come, and counts those that have not by then. */
    async settle(head: number, deadline: number): Promise<void> {
        await holds(() => this.checker.settled(head, Date.now()), deadline);
        this.checker.finish(head);
    }

    private async ask([event, payload]: Event): Promise<Answer> {
        return (await this.socket.emitWithAck(event, payload)) as Answer;
    }

    private received(payload: unknown): void {
        if (typeof payload !== "object" || payload === null) return;
        const fields = payload as Fields;
        const { offset } = fields;
        // Lines of the server itself have no number.
        if (typeof offset !== "number" || this.vocabulary.text(fields) === undefined) return;
        metrics.deliveries.add(1, this.tags);
        this.checker.message({ epoch: "", offset }, Date.now());
    }

    private left(user: string | undefined, run: string): void {
        if (user === undefined || !leavesTooEarly(run, user, Date.now())) return;
        metrics.unexplainedLeaves.add(1, this.tags);
        metrics.complain(`${this.name} in ${this.room}: ${user} is said to have left`);
    }
}
