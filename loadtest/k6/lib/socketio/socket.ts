// One connection to one namespace of a Socket.IO server (4.x: Engine.IO 4, Socket.IO 5). Opened by `connect` of
// socketio.ts; calls packets.ts and a transport.

import { clearTimeout, setTimeout } from "k6/timers";
import * as metrics from "./metrics.ts";
import * as packets from "./packets.ts";
import { openPolling } from "./polling.ts";
import type { EnginePacket, Transport, TransportEvents, TransportOptions } from "./transport.ts";
import { openWebSocket } from "./websocket.ts";

/** Delays between attempts to reconnect: they double from `minDelay` to `maxDelay`, in milliseconds. */
export interface Backoff {
    minDelay: number;
    maxDelay: number;
    /** How much of a delay is random: 0.5 makes 1000 any number from 500 to 1500. */
    jitter: number;
    /** After how many failures in a row the socket is closed. */
    attempts: number;
}

export interface SocketOptions {
    /** `/` if absent. */
    namespace?: string;
    /** Sent with the connect packet; a function is called for each connection, for what changes with it. */
    auth?: object | (() => object);
    /** Added to the query of each request. */
    query?: Record<string, string>;
    /** `/socket.io/` if absent. */
    path?: string;
    /** `websocket` if absent. */
    transport?: "websocket" | "polling";
    /** Milliseconds between two polls, for a client that reads slowly; 0 if absent. A function is called after each poll. */
    pollPause?: number | (() => number);
    headers?: Record<string, string>;
    /** Added to each value of the metrics of this socket. */
    tags?: Record<string, string>;
    /** Milliseconds until a connection counts as failed; 20,000 if absent. */
    connectTimeout?: number;
    /** Milliseconds until an acknowledgement counts as missing; 10,000 if absent. */
    ackTimeout?: number;
    /** Whether and how to connect again after the connection was lost; not, if absent. */
    reconnection?: Partial<Backoff> | false;
    /** The time at which an event was sent, in milliseconds since 1970, for `sio_delivery_duration`. */
    sentAt?: (event: string, args: unknown[]) => number | undefined;
}

/** `timeout`: no answer in time. `disconnected`: no connection, or it ended before the answer. `refused`: by the server. */
export type Failure = "timeout" | "disconnected" | "refused";

export class SocketError extends Error {
    readonly kind: Failure;
    /** Of a refusal: what the server said besides its message. */
    readonly data: unknown;

    constructor(kind: Failure, message: string, data?: unknown) {
        super(message);
        this.name = "SocketError";
        this.kind = kind;
        this.data = data;
    }
}

/** An acknowledgement, or why there is none. Called in the order of the packets. */
export type Reply = (error: SocketError | undefined, ...values: unknown[]) => void;
/** Called with what the server sent, whose types the listener knows. */
export type Listener = (...args: any[]) => void;

interface PendingAck {
    reply: Reply;
    started: number;
    timer: number;
}

type State = "connecting" | "connected" | "waiting" | "closed";

const BACKOFF: Backoff = { minDelay: 1_000, maxDelay: 5_000, jitter: 0.5, attempts: 20 };
/** How long a closing handshake may take. */
const CLOSE_TIMEOUT = 2_000;
const NORMAL = 1000;
/** Of the range that is free for applications: the connection is dropped without a word to the namespace. */
const DROPPED = 4000;

export class Socket {
    /** The id that the server gave this socket; changes with each connection. */
    id = "";
    readonly namespace: string;
    private state: State = "connecting";
    private transport: Transport | undefined;
    /** Which connection counts: events of former ones are ignored. */
    private generation = 0;
    private started = 0;
    private failures = 0;
    private everConnected = false;
    private heartbeat = 0;
    private heartbeatTimeout = 0;
    private timer = 0;
    private nextAck = 0;
    private readonly acks = new Map<number, PendingAck>();
    private readonly listeners = new Map<string, Listener[]>();
    private partial: { packet: packets.Packet; attachments: ArrayBuffer[] } | undefined;
    private closed: (() => void) | undefined;
    private readonly address: TransportOptions;
    private readonly options: SocketOptions;
    private readonly tags: Record<string, string>;

    /** Use `connect`. */
    constructor(url: string, options: SocketOptions) {
        this.options = options;
        this.namespace = options.namespace ?? "/";
        this.tags = options.tags ?? {};
        const query = Object.entries(options.query ?? {});
        const { pollPause = 0 } = options;
        this.address = {
            url: url.replace(/\/+$/, ""),
            path: options.path ?? "/socket.io/",
            query: query.map(([name, value]) => `&${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join(""),
            headers: options.headers ?? {},
            tags: this.tags,
            pollPause: typeof pollPause === "function" ? pollPause : () => pollPause,
        };
        this.open();
    }

    get connected(): boolean {
        return this.state === "connected";
    }

    /** Whether it ended for good: it was closed, refused, or all attempts to reconnect failed. */
    get ended(): boolean {
        return this.state === "closed";
    }

    /**
     * Calls the listener for each event of that name from the server, in order, and for those of the socket itself:
     * `connect`, `disconnect` (reason), `connect_error` (SocketError), `reconnecting` (delay in milliseconds).
     */
    on(event: string, listener: Listener): this {
        this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener]);
        return this;
    }

    off(event: string, listener: Listener): this {
        this.listeners.set(event, (this.listeners.get(event) ?? []).filter((one) => one !== listener));
        return this;
    }

    once(event: string, listener: Listener): this {
        const first: Listener = (...args) => {
            this.off(event, first);
            listener(...args);
        };
        return this.on(event, first);
    }

    /** Resolves once the namespace has answered; rejects with a SocketError if the socket ends before. */
    whenConnected(): Promise<this> {
        if (this.state === "connected") return Promise.resolve(this);
        if (this.state === "closed") return Promise.reject(new SocketError("disconnected", "the socket is closed"));
        return new Promise((resolve, reject) => {
            const connected = (): void => done(() => resolve(this));
            const refused = (error: SocketError): void => {
                if (this.ended) done(() => reject(error));
            };
            const lost = (reason: string): void => {
                if (this.ended) done(() => reject(new SocketError("disconnected", reason)));
            };
            const done = (settle: () => void): void => {
                this.off("connect", connected).off("connect_error", refused).off("disconnect", lost);
                settle();
            };
            this.on("connect", connected).on("connect_error", refused).on("disconnect", lost);
        });
    }

    /** Sends an event without an acknowledgement; false, and nothing is sent, while there is no connection. */
    emit(event: string, ...args: unknown[]): boolean {
        if (this.state !== "connected") return false;
        this.sendPacket(packets.EVENT, [event, ...args]);
        metrics.eventsSent.add(1, this.tags);
        return true;
    }

    /** Sends an event; `reply` is called once, with the acknowledgement or the reason why there is none. */
    call(event: string, args: unknown[], reply: Reply, timeout = this.options.ackTimeout ?? 10_000): void {
        if (this.state !== "connected") return reply(new SocketError("disconnected", "there is no connection"));
        const id = this.nextAck++;
        const timer = setTimeout(() => {
            this.acks.delete(id);
            metrics.ackOk.add(false, this.tags);
            reply(new SocketError("timeout", `${event} was not acknowledged within ${timeout} ms`));
        }, timeout);
        this.acks.set(id, { reply, started: Date.now(), timer });
        this.sendPacket(packets.EVENT, [event, ...args], id);
        metrics.eventsSent.add(1, this.tags);
    }

    /** Sends an event and resolves with the first value of its acknowledgement; rejects with a SocketError. */
    emitWithAck(event: string, ...args: unknown[]): Promise<unknown> {
        return this.timeout(this.options.ackTimeout ?? 10_000).emitWithAck(event, ...args);
    }

    /** `socket.timeout(500).emitWithAck(…)`: the same with a timeout of its own, in milliseconds. */
    timeout(ms: number): { emitWithAck(event: string, ...args: unknown[]): Promise<unknown> } {
        return {
            emitWithAck: (event, ...args) =>
                new Promise((resolve, reject) => {
                    this.call(event, args, (error, value) => (error ? reject(error) : resolve(value)), ms);
                }),
        };
    }

    /** Leaves the namespace and closes the connection, for good; resolves once it is closed, or after two seconds. */
    disconnect(): Promise<void> {
        if (this.state === "closed") return Promise.resolve();
        if (this.state === "connected") this.sendPacket(packets.DISCONNECT);
        const { transport } = this;
        const opened = this.state === "connected" || this.state === "connecting";
        this.finish("closed by the script", false);
        if (!transport || !opened) return Promise.resolve();
        return new Promise((resolve) => {
            const timer = setTimeout(resolve, CLOSE_TIMEOUT);
            this.closed = () => {
                clearTimeout(timer);
                resolve();
            };
            transport.close(NORMAL, "");
        });
    }

    /** Drops the connection without leaving the namespace, as a lost network does; it then reconnects if it may. */
    drop(): void {
        if (this.state !== "connected" && this.state !== "connecting") return;
        const { transport } = this;
        this.lost("dropped by the script", false);
        transport?.close(DROPPED, "dropped");
    }

    private open(): void {
        this.state = "connecting";
        this.started = Date.now();
        const generation = ++this.generation;
        const current = (): boolean => generation === this.generation;
        const events: TransportEvents = {
            onPacket: (packet) => {
                if (current()) this.received(packet);
            },
            onClose: (reason) => {
                if (current()) this.lost(reason, true);
                else if (this.closed) this.closed();
            },
        };
        this.timer = setTimeout(() => this.giveUp("timeout"), this.options.connectTimeout ?? 20_000);
        this.transport = (this.options.transport === "polling" ? openPolling : openWebSocket)(this.address, events);
    }

    private giveUp(reason: string): void {
        const { transport } = this;
        this.lost(reason, true);
        transport?.close(NORMAL, "");
    }

    private received(packet: EnginePacket): void {
        if (typeof packet !== "string") return this.attachment(packet);
        switch (packet.charAt(0)) {
            case "0":
                return this.opened(packet.slice(1));
            case "1":
                return this.giveUp("transport close");
            case "2":
                this.transport?.send(`3${packet.slice(1)}`);
                return this.awaitPing();
            case "4":
                return this.message(packet.slice(1));
            default:
        }
    }

    private opened(json: string): void {
        const { pingInterval, pingTimeout } = JSON.parse(json) as { pingInterval: number; pingTimeout: number };
        this.heartbeatTimeout = pingInterval + pingTimeout;
        this.awaitPing();
        const { auth } = this.options;
        this.sendPacket(packets.CONNECT, typeof auth === "function" ? (auth as () => object)() : auth);
    }

    private awaitPing(): void {
        clearTimeout(this.heartbeat);
        this.heartbeat = setTimeout(() => this.giveUp("ping timeout"), this.heartbeatTimeout);
    }

    private message(text: string): void {
        let packet: packets.Packet;
        try {
            packet = packets.decode(text);
        } catch {
            return this.giveUp("parse error");
        }
        if (packet.attachments > 0) this.partial = { packet, attachments: [] };
        else this.handle(packet);
    }

    private attachment(bytes: ArrayBuffer): void {
        const { partial } = this;
        if (!partial) return this.giveUp("parse error");
        partial.attachments.push(bytes);
        if (partial.attachments.length < partial.packet.attachments) return;
        this.partial = undefined;
        partial.packet.data = packets.insertAttachments(partial.packet.data, partial.attachments);
        this.handle(partial.packet);
    }

    private handle(packet: packets.Packet): void {
        if (packet.namespace !== this.namespace) return;
        switch (packet.type) {
            case packets.CONNECT:
                return this.entered(packet.data as { sid: string });
            case packets.CONNECT_ERROR:
                return this.refused(packet.data as { message?: string; data?: unknown });
            case packets.DISCONNECT:
                return this.leftByServer();
            case packets.EVENT:
                return this.event(packet);
            case packets.ACK:
                return this.acknowledged(packet);
            default:
        }
    }

    private entered({ sid }: { sid: string }): void {
        clearTimeout(this.timer);
        this.id = sid;
        this.state = "connected";
        this.failures = 0;
        metrics.connectDuration.add(Date.now() - this.started, this.tags);
        if (this.everConnected) metrics.reconnects.add(1, this.tags);
        this.everConnected = true;
        this.dispatch("connect", []);
    }

    /** A refusal is final, as for official clients: the same would be refused again. */
    private refused({ message, data }: { message?: string; data?: unknown }): void {
        const reason = message ?? "refused";
        metrics.connectErrors.add(1, { ...this.tags, reason });
        const { transport } = this;
        this.finish(reason);
        transport?.close(NORMAL, "");
        this.dispatch("connect_error", [new SocketError("refused", reason, data)]);
    }

    /** Official clients do not connect again after this, so neither does this one. */
    private leftByServer(): void {
        const { transport } = this;
        metrics.disconnects.add(1, { ...this.tags, reason: "io server disconnect" });
        this.finish("io server disconnect");
        transport?.close(NORMAL, "");
        this.dispatch("disconnect", ["io server disconnect"]);
    }

    private event(packet: packets.Packet): void {
        const [name, ...args] = packet.data as [string, ...unknown[]];
        metrics.eventsReceived.add(1, this.tags);
        const sentAt = this.options.sentAt?.(name, args);
        if (sentAt !== undefined) metrics.deliveryDuration.add(Date.now() - sentAt, this.tags);
        const { id } = packet;
        if (id !== undefined) args.push((...values: unknown[]) => this.sendPacket(packets.ACK, values, id));
        this.dispatch(name, args);
    }

    private acknowledged(packet: packets.Packet): void {
        const pending = packet.id === undefined ? undefined : this.acks.get(packet.id);
        // Without one it came after its timeout, which was counted already.
        if (!pending || packet.id === undefined) return;
        this.acks.delete(packet.id);
        clearTimeout(pending.timer);
        metrics.ackDuration.add(Date.now() - pending.started, this.tags);
        metrics.ackOk.add(true, this.tags);
        pending.reply(undefined, ...(packet.data as unknown[]));
    }

    /** The connection is gone. `counted`: the script did not want that. */
    private lost(reason: string, counted: boolean): void {
        const wasConnected = this.state === "connected";
        // What k6 says of an error has addresses in it, which would make a series of metrics each.
        const tags = { ...this.tags, reason: reason.startsWith("transport error") ? "transport error" : reason };
        if (counted && wasConnected) metrics.disconnects.add(1, tags);
        if (counted && !wasConnected) metrics.connectErrors.add(1, tags);
        this.finish(reason, counted);
        const { reconnection } = this.options;
        const backoff = reconnection ? { ...BACKOFF, ...reconnection } : undefined;
        if (backoff && this.failures < backoff.attempts) this.reconnectLater(backoff);
        if (wasConnected) this.dispatch("disconnect", [reason]);
        else this.dispatch("connect_error", [new SocketError("disconnected", reason)]);
    }

    private reconnectLater({ minDelay, maxDelay, jitter }: Backoff): void {
        const base = Math.min(maxDelay, minDelay * 2 ** this.failures);
        const delay = Math.round(base * (1 + jitter * (2 * Math.random() - 1)));
        this.failures++;
        this.state = "waiting";
        this.timer = setTimeout(() => this.open(), delay);
        this.dispatch("reconnecting", [delay]);
    }

    /** No connection counts any more: timers stop, and whoever waits for an acknowledgement is told. */
    private finish(reason: string, counted = true): void {
        this.state = "closed";
        this.generation++;
        this.transport = undefined;
        this.partial = undefined;
        clearTimeout(this.timer);
        clearTimeout(this.heartbeat);
        const pending = [...this.acks.values()];
        this.acks.clear();
        for (const { reply, timer } of pending) {
            clearTimeout(timer);
            if (counted) metrics.ackOk.add(false, this.tags);
            reply(new SocketError("disconnected", reason));
        }
    }

    private sendPacket(type: number, data?: unknown, id?: number): void {
        const { text, attachments } = packets.encode(type, this.namespace, data, id);
        this.transport?.send(`4${text}`);
        for (const bytes of attachments) this.transport?.send(bytes);
    }

    private dispatch(event: string, args: unknown[]): void {
        for (const listener of this.listeners.get(event) ?? []) listener(...args);
    }
}
