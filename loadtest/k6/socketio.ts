// A Socket.IO client for k6 scripts: WebSocket or long-polling, namespaces, auth, acknowledgements, attachments,
// reconnection. It knows nothing of a particular chat; README.md has an example. Servers: Socket.IO 3 and 4.

import * as socketMetrics from "./lib/socketio/metrics.ts";
import { Socket, SocketError, type SocketOptions } from "./lib/socketio/socket.ts";

export type { Backoff, Failure, Listener, Reply, SocketOptions } from "./lib/socketio/socket.ts";
export { Socket, SocketError, socketMetrics };

/** Begins to connect: `url` is `http(s)://host:port`. Wait for `whenConnected()`, or listen to `connect`. */
export function connect(url: string, options: SocketOptions = {}): Socket {
    return new Socket(url, options);
}
