// Whether a Roomcast answers at an address, before a load test begins: a session over long-polling, which is given a
// welcome or one of Roomcast's refusals. Called by load.mjs.

const TIMEOUT_MS = 10_000;
/** The answer to the connect packet and the welcome may come with different polls. */
const MAX_POLLS = 4;

/** Undefined where one does, else what is wrong, in one line. */
export async function chatProblem(url) {
  const address = `${url}/socket.io/?EIO=4&transport=polling`;
  try {
    const opened = await ask(address);
    const { sid } = JSON.parse(/^0(\{[^\x1e]*\})/.exec(opened)?.[1] ?? '{}');
    if (sid === undefined) return 'no Socket.IO server answers there';
    const session = `${address}&sid=${encodeURIComponent(sid)}`;
    const name = `load-${Math.random().toString(36).slice(2, 12)}`;
    const auth = { username: name, resume: `secret of ${name}`, ...(process.env.TOKEN && { token: process.env.TOKEN }) };
    await ask(session, `40/native,${JSON.stringify(auth)}`);
    for (let poll = 0; poll < MAX_POLLS; poll += 1) {
      for (const packet of (await ask(session)).split('\x1e')) {
        if (packet.startsWith('44/native,')) return refusal(packet);
        if (packet === '2') await ask(session, '3');
        if (!packet.startsWith('42/native,["welcome",')) continue;
        await ask(session, '41/native,\x1e1');
        return undefined;
      }
    }
    return 'a Socket.IO server answers there, but it is no Roomcast';
  } catch (error) {
    if (error.name === 'TimeoutError') return `no answer within ${TIMEOUT_MS / 1_000} s`;
    return `no answer (${error.cause?.message || error.cause?.code || error.message})`;
  }
}

function refusal(packet) {
  const { message, data } = JSON.parse(packet.slice('44/native,'.length));
  return data?.code === undefined
    ? `a Socket.IO server answers there, but it is no Roomcast: ${message}`
    : `it refuses to let a user in: ${data.code}: ${data.message ?? message}`;
}

/** The text of an answer; any status but 200 has none that matters. */
async function ask(address, body) {
  const options = { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'manual', ...(body !== undefined && { method: 'POST', body }) };
  const response = await fetch(address, options);
  const text = await response.text();
  return response.status === 200 ? text : '';
}
