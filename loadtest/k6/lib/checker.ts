// Whether a member receives each message of a room once and in order, by the offsets that number a room's messages.
// Pure; called by member.ts and classic.ts.

export interface CheckerCounts {
    missing(count: number): void;
    repeated(count: number): void;
    misordered(count: number): void;
    resyncs(count: number): void;
    recoveries(count: number): void;
}

export interface Position {
    epoch: string;
    offset: number;
}

/** A message, or what of it matters here. */
export type Stamped = Position;

/** The answer to a join. */
export interface JoinAnswer extends Position {
    recovered: boolean;
    messages: Stamped[];
}

/** How long a hole may stay open until its messages are missing: one that comes later was only out of order. */
const HOLE_MS = 3_000;

export class RoomChecker {
    private position: Position | undefined;
    /** The offsets below the position that have not come, and when that was noticed. */
    private readonly holes = new Map<number, number>();
    /** Messages of this member which the server does not send to it, above the position. */
    private readonly own = new Set<number>();
    private readonly counts: CheckerCounts;

    constructor(counts: CheckerCounts) {
        this.counts = counts;
    }

    /** Up to where messages came; undefined before the first. What a join sends as `since`. */
    get since(): Position | undefined {
        return this.position && { ...this.position };
    }

    /** Whether all up to this offset came, or is known to be missing. */
    settled(head: number, now: number): boolean {
        this.expire(now);
        return this.holes.size === 0 && (this.position?.offset ?? 0) >= head;
    }

    /** The answer to the first join, which says where the stream begins. */
    joined({ epoch, offset }: Position): void {
        this.position = { epoch, offset };
    }

    /** The answer to a join with `since`: the missed messages, or that they are lost. */
    rejoined(answer: JoinAnswer, now: number): void {
        if (!answer.recovered) return this.resync(answer);
        this.counts.recoveries(1);
        for (const message of answer.messages) this.message(message, now);
        const reached = this.position?.offset ?? 0;
        // It ends at the offset that the answer names; what is below and was not in it is missing.
        for (let offset = reached + 1; offset <= answer.offset; offset++) this.holes.set(offset, now);
        if (answer.offset > reached) this.position = { epoch: answer.epoch, offset: answer.offset };
        this.flush();
    }

    /** The server says that it cannot fill a gap, and goes on from here, or from the next message. */
    resync(at: { epoch: string; offset?: number }): void {
        this.counts.resyncs(1);
        this.closeHoles();
        this.position = at.offset === undefined ? undefined : { epoch: at.epoch, offset: at.offset };
    }

    /** A message came. */
    message({ epoch, offset }: Stamped, now: number): void {
        const { position } = this;
        if (!position) {
            this.position = { epoch, offset };
        } else if (epoch !== position.epoch) {
            // A log that begins anew is announced by `resync`.
            this.counts.misordered(1);
            this.closeHoles();
            this.position = { epoch, offset };
        } else if (offset > position.offset) {
            for (let hole = position.offset + 1; hole < offset; hole++) {
                if (!this.own.delete(hole)) this.holes.set(hole, now);
            }
            position.offset = offset;
            this.flush();
        } else if (this.holes.delete(offset)) {
            this.counts.misordered(1);
        } else {
            this.counts.repeated(1);
        }
        if (this.holes.size > 0) this.expire(now);
    }

    /** A message of this member was acknowledged, which must come, too: where nothing came yet, the stream begins here. */
    acknowledged({ epoch, offset }: Stamped): void {
        if (!this.position) this.position = { epoch, offset: offset - 1 };
    }

    /** A message of this member was acknowledged which the server does not send to it. */
    ownMessage({ epoch, offset }: Stamped): void {
        if (!this.position) this.position = { epoch, offset };
        else if (offset > this.position.offset) this.own.add(offset);
        else this.holes.delete(offset);
        this.flush();
    }

    /** The end: `head` is the last message of the room, which must have come. */
    finish(head: number): void {
        this.closeHoles();
        const reached = this.position?.offset ?? head;
        if (head > reached) this.counts.missing(head - reached);
    }

    private flush(): void {
        const { position } = this;
        while (position && this.own.delete(position.offset + 1)) position.offset++;
    }

    private expire(now: number): void {
        for (const [offset, noticed] of this.holes) {
            if (now - noticed < HOLE_MS) return;
            this.holes.delete(offset);
            this.counts.missing(1);
        }
    }

    private closeHoles(): void {
        this.counts.missing(this.holes.size);
        this.holes.clear();
    }
}
