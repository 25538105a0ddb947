// People in rooms, for live.test.mjs: some that stay and talk, some that come and go, some on long-polling,
// one that makes mistakes; and somebody who reads the directory. What fails while something is down is part
// of the scenario: nothing here fails because of it.
import { setTimeout as sleep } from 'node:timers/promises';

import { Client, balancer, connect, eventually, request, unique } from '../../../gateway/tests/e2e/harness.mjs';

const ROOMS = ['general', 'help'];
const STAY = 24;
const TIMEOUT = { timeout: 3_000 };

export class Load {
  sent = 0;
  #stopped = false;
  #loops = [];

  /** Returns when everybody is there. */
  static async start({ gateways, presence }) {
    const load = new Load();
    // Round-robin, so most polls reach a gateway that has to pass them on.
    const entry = await balancer(gateways);
    load.people = await Promise.all(
      Array.from({ length: STAY }, (_, i) => {
        const name = unique('stays');
        const polling = i % 8 === 7 && { transports: ['polling'] };
        return connect(entry, { name, resume: `secret-of-${name}`, rejoin: true, reconnectionDelayMax: 1_000, ...polling });
      }),
    );
    for (const [i, person] of load.people.entries()) await person.join(ROOMS[i % ROOMS.length]);
    load.#every(80, () => load.#talk());
    load.#every(400, () => load.#visit(entry));
    load.#every(500, () => load.#look());
    load.#every(500, () => request(`${presence[0].url}/rooms`));
    return load;
  }

  #every(ms, what) {
    const loop = async () => {
      while (!this.#stopped) {
        await what().catch(() => {});
        await sleep(ms);
      }
    };
    this.#loops.push(loop());
  }

  /** Everybody in turn. */
  async #talk() {
    const i = this.sent++ % this.people.length;
    await this.people[i].ask('send_message', { room: ROOMS[i % ROOMS.length], text: 'as people do' }, TIMEOUT);
  }

  /** Comes, looks around, leaves. */
  async #visit(where) {
    const visitor = new Client(where, { name: unique('visitor'), reconnection: false });
    try {
      await eventually(() => visitor.welcome ?? visitor.refusal, { timeout: 3_000 });
      await visitor.ask('join', { room: 'random' }, TIMEOUT);
      await visitor.ask('leave', { room: 'random' }, TIMEOUT);
    } finally {
      visitor.close();
    }
  }

  async #look() {
    const [someone] = this.people;
    await someone.ask('history', { room: ROOMS[0] }, TIMEOUT);
    await someone.ask('rooms', {}, TIMEOUT);
    await someone.ask('online_users', { room: ROOMS[0] }, TIMEOUT);
    await someone.ask('send_message', { room: ROOMS[0], text: '' }, TIMEOUT); // a mistake
  }

  async stop() {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }
}
