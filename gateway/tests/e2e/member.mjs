// A member of one room on a raw WebSocket, cheap enough for hundreds of them. It checks every frame on arrival: after
// the position in the answer to a join, messages must follow without a gap or a repetition, and none after a leave.
import assert from 'node:assert/strict';

import { rawUser } from './raw.mjs';
import { eventually, unique } from './wait.mjs';

const MESSAGE = '42/native,["message",';
const ANSWER = '43/native,';

export class Member {
  wrong = [];
  received = 0;
  #answers = new Map();
  #next = 0;

  /** Connects with a name; joins no room. */
  static async connect(target, { name = unique('member') } = {}) {
    const member = new Member();
    Object.assign(member, { name, raw: await rawUser(target, name) });
    member.raw.onFrame = (frame) => {
      // Saves memory: there are hundreds of members.
      member.raw.frames.length = 0;
      member.#frame(frame);
    };
    return member;
  }

  get closed() {
    return this.raw.closed;
  }

  /** Emits; the acknowledgement is passed to `answered` in the order of the frames, and to the caller later. */
  ask(event, payload, answered) {
    const id = this.#next++;
    this.raw.send(`42/native,${id}${JSON.stringify([event, payload])}`);
    return new Promise((resolve) => this.#answers.set(id, (ack) => (answered?.(ack), resolve(ack))));
  }

  async ok(event, payload, answered) {
    const ack = await this.ask(event, payload, answered);
    assert.equal(ack.status, 'ok', `${this.name}: ${event} was answered ${JSON.stringify(ack)}`);
    return ack;
  }

  /** Joins, or joins again. With `since`, the answer must contain exactly the missed messages. */
  join(room, { since } = {}) {
    this.room = room;
    return this.ok('join', { room, ...(since ? { since } : { limit: 0 }) }, (ack) => {
      if (ack.status !== 'ok') return;
      if (since) {
        const offsets = ack.messages.map(({ offset }) => offset);
        const expected = Array.from({ length: ack.offset - since.offset }, (_, i) => since.offset + 1 + i);
        if (!ack.recovered) this.#wrong(`since ${since.offset} was not recovered at ${ack.offset}`);
        else if (String(offsets) !== String(expected)) this.#wrong(`since ${since.offset} to ${ack.offset}: ${offsets}`);
      }
      if (this.seated && ack.offset < this.position.offset) this.#wrong(`joined back at ${ack.offset}`);
      this.position = { epoch: ack.epoch, offset: ack.offset };
      const back = this.seated ? ' back, being a member,' : '';
      this.seated = true;
      this.how = since ? `join${back} since ${since.offset} at ${ack.offset}` : `join${back} at ${ack.offset}`;
    });
  }

  leave() {
    return this.ok('leave', { room: this.room }, () => {
      this.seated = false;
      this.how = `leave at ${this.position.offset}`;
    });
  }

  /** Waits until it has everything up to this offset. */
  has(offset, timeout = 20_000) {
    const what = () => `${this.name} has ${offset}; has ${this.position.offset} after ${this.how}, ${this.wrong[0] ?? ''} ${this.closed ? 'closed' : ''}`;
    return eventually(() => this.position.offset >= offset, { timeout, what });
  }

  #wrong(what) {
    this.wrong.push(`${this.name}: ${what} (after ${this.how})`);
  }

  #frame(frame) {
    if (frame.startsWith(MESSAGE)) {
      // The offset precedes all user input except the room's name.
      const offset = Number(/"offset":(\d+)/.exec(frame)[1]);
      this.received++;
      if (!this.seated) this.#wrong(`${offset} while it is no member`);
      else if (offset !== this.position.offset + 1) this.#wrong(`${offset} follows ${this.position.offset}`);
      if (this.seated) this.position.offset = offset;
      this.onMessage?.(frame);
    } else if (frame.startsWith(ANSWER)) {
      const at = frame.indexOf('[');
      const id = Number(frame.slice(ANSWER.length, at));
      const answer = this.#answers.get(id);
      this.#answers.delete(id);
      if (answer) answer(JSON.parse(frame.slice(at))[0]);
      else this.#wrong(`an answer without a request: ${frame.slice(0, 80)}`);
    } else if (frame.includes('"resync"')) {
      this.#wrong(frame.slice(0, 80));
    }
  }
}
