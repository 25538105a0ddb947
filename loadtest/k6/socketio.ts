// A Socket.IO client for k6 scripts: WebSocket or long-polling, namespaces, auth, acknowledgements, attachments,
// reconnection. It knows nothing of a particular chat; README.md has an example. Servers: Socket.IO 3 and 4.

import { Socket, type SocketOptions } from "./lib/socketio/socket.ts";

export { Socket, SocketError, type Backoff, type Failure, type Listener, type Reply, type SocketOptions } from "./lib/socketio/socket.ts";
export * as socketMetrics from "./lib/socketio/metrics.ts";

/** Begins to connect: `url` is `http(s)://host:port`. Wait for `whenConnected()`, or listen to `connect`. */
export function connect(url: string, options: SocketOptions = {}): Socket {
    return new Socket(url, options);
}
