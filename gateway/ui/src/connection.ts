// One Socket.IO connection to any gateway: connects, reconnects, sends requests and receives events.
// Used by session.ts, which implements `Listener`; independent of rooms.

import { io, type Socket } from 'socket.io-client';
import type { ClientToServerEvents, Code, Failure, ServerToClientEvents } from './protocol.ts';

export type ClientEvent = keyof ClientToServerEvents;
export type ServerEvent = keyof ServerToClientEvents;
/** The payload of a client event, and its acknowledgement on success. */
export type RequestPayload<E extends ClientEvent> = Parameters<ClientToServerEvents[E]>[0];
export type Reply<E extends ClientEvent> = Extract<AnyAnswer<E>, { status: 'ok' }>;
export type EventPayload<E extends ServerEvent> = Parameters<ServerToClientEvents[E]>[0];
type AnyAnswer<E extends ClientEvent> = Parameters<NonNullable<Parameters<ClientToServerEvents[E]>[1]>>[0];

export interface Listener {
  /** The connect was refused with this code; there is no retry until connect() is called. */
  refused(code: string): void;
  /** The connect was refused temporarily with this code; it is retried. */
  waiting(code: string): void;
  lost(attempt: number): void;
  transport(name: string): void;
  latency(ms: number): void;
  event<E extends ServerEvent>(name: E, payload: EventPayload<E>): void;
}

/** A failed request. The code `lost` means that the connection was lost and the outcome is unknown. */
export class Refusal extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

export interface Connection {
  readonly connected: boolean;
  connect(): void;
  disconnect(): void;
  request<E extends ClientEvent>(event: E, payload: RequestPayload<E>): Promise<Reply<E>>;
  /** Sends a volatile event: dropped if it cannot be sent at once, and not acknowledged. */
  emitVolatile<E extends ClientEvent>(event: E, payload: RequestPayload<E>): void;
}

/** Codes of temporary refusals, after which a connect is retried. */
const TEMPORARY: ReadonlySet<string> = new Set<Code | 'timeout'>([
  'busy',
  'unavailable',
  'draining',
  'outcome_unknown',
  'timeout',
]);
const FIRST_DELAY = 400;
const ACK_TIMEOUT = 10_000;
const EVENTS: readonly ServerEvent[] = [
  'welcome',
  'message',
  'presence',
  'online_users',
  'typing',
  'resync',
  'restarting',
];

export function createConnection(
  credentials: () => { username: string; resume: string },
  listener: Listener,
): Connection {
  const socket: Socket = io('/native', {
    autoConnect: false,
    auth: (callback) => callback(credentials()),
    reconnectionDelay: FIRST_DELAY,
    reconnectionDelayMax: 4000,
  });
  const manager = socket.io;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let refusals = 0;

  const connectLater = (delay: number): void => {
    clearTimeout(retry);
    retry = setTimeout(() => socket.connect(), delay);
  };

  socket.on('connect', () => {
    refusals = 0;
    manager.reconnectionDelay(FIRST_DELAY);
    listener.transport(manager.engine.transport.name);
    manager.engine.once('upgrade', ({ name }) => listener.transport(name));
  });

  socket.on('connect_error', (error: Error & { data?: { retry_after_ms?: number } }) => {
    // Still active: the transport failed, and the manager reconnects by itself.
    if (socket.active) return;
    const retryAfter = error.data?.retry_after_ms;
    if (retryAfter === undefined && !TEMPORARY.has(error.message)) return listener.refused(error.message);
    refusals += 1;
    listener.waiting(error.message);
    connectLater(retryAfter ?? Math.min(1000 * 2 ** refusals, 15_000) * (0.75 + Math.random() / 2));
  });

  socket.on('disconnect', (reason) => {
    if (reason === 'io client disconnect') return;
    listener.lost(1);
    // The official client does not reconnect after a disconnect by the server; this page does.
    if (reason === 'io server disconnect') connectLater(1000 * (0.5 + Math.random()));
  });

  manager.on('reconnect_attempt', (attempt) => listener.lost(attempt));

  for (const name of EVENTS) {
    socket.on(name, (payload) => listener.event(name, payload));
  }
  socket.on('restarting', ({ reconnect_in_ms }: EventPayload<'restarting'>) => {
    manager.reconnectionDelay(Math.max(reconnect_in_ms || 0, FIRST_DELAY));
  });

  return {
    get connected() {
      return socket.connected;
    },
    connect() {
      clearTimeout(retry);
      socket.connect();
    },
    disconnect() {
      clearTimeout(retry);
      socket.disconnect();
    },
    emitVolatile(event, payload) {
      socket.volatile.emit(event, payload);
    },
    request<E extends ClientEvent>(event: E, payload: RequestPayload<E>): Promise<Reply<E>> {
      return new Promise((resolve, reject) => {
        if (!socket.connected) return reject(new Refusal('lost', ''));
        const sentAt = performance.now();
        socket
          .timeout(ACK_TIMEOUT)
          .emit(event, payload, (error: Error | null, answer?: Reply<E> | ({ status: 'error' } & Failure)) => {
            if (error || !answer) return reject(new Refusal(socket.connected ? 'no_answer' : 'lost', ''));
            listener.latency(performance.now() - sentAt);
            if (answer.status === 'ok') return resolve(answer);
            reject(new Refusal(answer.code, answer.message, answer.retry_after_ms ?? null));
          });
      });
    },
  };
}
