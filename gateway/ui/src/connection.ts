// One Socket.IO connection to whichever node answers: connects, reconnects, asks and listens.
// Called by session.ts, which is told of everything through `Listener`; knows nothing of rooms.

import { io, type Socket } from 'socket.io-client';
import type { ClientToServerEvents, Code, Failure, ServerToClientEvents } from './protocol.ts';

export type Asked = keyof ClientToServerEvents;
export type Told = keyof ServerToClientEvents;
/** What an event carries, and what answers it where it was not refused. */
export type Question<E extends Asked> = Parameters<ClientToServerEvents[E]>[0];
export type Reply<E extends Asked> = Extract<AnyAnswer<E>, { status: 'ok' }>;
export type News<E extends Told> = Parameters<ServerToClientEvents[E]>[0];
type AnyAnswer<E extends Asked> = Parameters<NonNullable<Parameters<ClientToServerEvents[E]>[1]>>[0];

export interface Listener {
  /** A node refused us and said why; nothing more happens until connect() is called. */
  refused(code: string): void;
  /** A node asked us to come back later, which we do. */
  waiting(code: string): void;
  lost(attempt: number): void;
  transport(name: string): void;
  latency(ms: number): void;
  event<E extends Told>(name: E, payload: News<E>): void;
}

/** Why a request failed. `lost` means that the connection went away and the outcome is unknown. */
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
  request<E extends Asked>(event: E, payload: Question<E>): Promise<Reply<E>>;
  /** Sent only if it can leave at once, and never answered. */
  hint<E extends Asked>(event: E, payload: Question<E>): void;
}

/** Refusals that are about the moment and not about the person. */
const PASSING: ReadonlySet<string> = new Set<Code | 'timeout'>([
  'busy',
  'unavailable',
  'draining',
  'outcome_unknown',
  'timeout',
]);
const FIRST_DELAY = 400;
const ANSWER_WITHIN = 10_000;
const EVENTS: readonly Told[] = ['welcome', 'message', 'presence', 'online_users', 'typing', 'resync', 'restarting'];

export function createConnection(
  credentials: () => { username: string; resume: string },
  listener: Listener,
): Connection {
  const socket: Socket = io('/native', {
    autoConnect: false,
    auth: (give) => give(credentials()),
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
    // Still active: the transport failed, and the manager tries again by itself.
    if (socket.active) return;
    const later = error.data?.retry_after_ms;
    if (later === undefined && !PASSING.has(error.message)) return listener.refused(error.message);
    refusals += 1;
    listener.waiting(error.message);
    connectLater(later ?? Math.min(1000 * 2 ** refusals, 15_000) * (0.75 + Math.random() / 2));
  });

  socket.on('disconnect', (reason) => {
    if (reason === 'io client disconnect') return;
    listener.lost(1);
    // The official client takes a server's goodbye as final; a chat comes back.
    if (reason === 'io server disconnect') connectLater(1000 * (0.5 + Math.random()));
  });

  manager.on('reconnect_attempt', (attempt) => listener.lost(attempt));

  for (const name of EVENTS) {
    socket.on(name, (payload) => listener.event(name, payload));
  }
  socket.on('restarting', ({ reconnect_in_ms }: News<'restarting'>) => {
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
    hint(event, payload) {
      socket.volatile.emit(event, payload);
    },
    request<E extends Asked>(event: E, payload: Question<E>): Promise<Reply<E>> {
      return new Promise((resolve, reject) => {
        if (!socket.connected) return reject(new Refusal('lost', ''));
        const asked = performance.now();
        socket
          .timeout(ANSWER_WITHIN)
          .emit(event, payload, (error: Error | null, answer?: Reply<E> | ({ status: 'error' } & Failure)) => {
            if (error || !answer) return reject(new Refusal(socket.connected ? 'no_answer' : 'lost', ''));
            listener.latency(performance.now() - asked);
            if (answer.status === 'ok') return resolve(answer);
            reject(new Refusal(answer.code, answer.message, answer.retry_after_ms ?? null));
          });
      });
    },
  };
}
