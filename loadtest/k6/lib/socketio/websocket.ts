// The transport of one WebSocket. Called by socket.ts.

import { WebSocket } from "k6/websockets";
import type { Transport, TransportEvents, TransportOptions } from "./transport.ts";

/** What k6 (1.5 and later) passes to `onclose`; its published types say that there is nothing. */
interface CloseEvent {
    code?: number;
    reason?: string;
}

const CONNECTING = 0;
const OPEN = 1;

/** Opens a WebSocket; a failure is told by `onClose`. */
export function openWebSocket(options: TransportOptions, events: TransportEvents): Transport {
    const { url, path, query, headers, tags } = options;
    const address = `${url.replace(/^http/, "ws")}${path}?EIO=4&transport=websocket${query}`;
    const socket = new WebSocket(address, null, { headers, tags });
    socket.binaryType = "arraybuffer";
    let ended = false;
    const end = (reason: string): void => {
        if (ended) return;
        ended = true;
        events.onClose(reason);
    };
    socket.onmessage = (event) => {
        const data = event?.data;
        if (!ended && data !== undefined) events.onPacket(data as string | ArrayBuffer);
    };
    socket.onerror = (event) => end(`transport error: ${event?.error || "the connection failed"}`);
    socket.onclose = (...passed: unknown[]) => {
        const { code, reason } = (passed[0] ?? {}) as CloseEvent;
        end(`transport close${code ? ` (${code}${reason ? ` ${reason}` : ""})` : ""}`);
    };
    return {
        send(packet) {
            if (socket.readyState === OPEN) socket.send(packet);
        },
        close(code, reason) {
            if (socket.readyState === CONNECTING || socket.readyState === OPEN) socket.close(code, reason);
        },
    };
}
