// What socket.ts needs of a transport: packets of Engine.IO (protocol 4) in both directions. Implemented by
// websocket.ts and polling.ts.

/** A packet of Engine.IO: its digit and text, or the bytes of an attachment. */
export type EnginePacket = string | ArrayBuffer;

export interface TransportEvents {
    onPacket(packet: EnginePacket): void;
    /** Called once, when the connection has ended or could not be opened. */
    onClose(reason: string): void;
}

export interface Transport {
    send(packet: EnginePacket): void;
    /** Ends the connection. `onClose` may follow later, or never. */
    close(code: number, reason: string): void;
}

export interface TransportOptions {
    /** `http://` or `https://`, host, and port. */
    url: string;
    /** Of the server, `/socket.io/`. */
    path: string;
    /** Appended to the query of each request, with its `&`. */
    query: string;
    headers: Record<string, string>;
    /** Of k6's own metrics. */
    tags: Record<string, string>;
    /** Milliseconds between the end of a poll and the next one; asked after each. Only for polling. */
    pollPause: () => number;
}
