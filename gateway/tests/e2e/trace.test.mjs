// Tracing: one trace from the client's event through Redis to the fan-out on every node, received by a real OTLP
// receiver, and its id in every log line. Clients notice nothing of it.
import assert from 'node:assert/strict';

import { cluster, connect, eachBounded, eventually, step, story, unique, within } from './harness.mjs';
import { otlpReceiver } from './otlp.mjs';

const ID = /^[0-9a-f]{32}$/;
const NODES = ['gw-a', 'gw-b', 'gw-c'];

const traced = (receiver, ratio, ...more) => ['--otlp', receiver.url, '--trace-ratio', String(ratio), ...more];
const root = (event, room) => (span) => span.name === event && span.attributes['roomcast.room'] === room;
const named = (spans, name) => spans.filter((span) => span.name === name);

/** Log lines, which are JSON where standard error is no terminal. */
const logged = (service, message) =>
  service.process.lines
    .filter(({ stream, text }) => stream === 'stderr' && text.startsWith('{'))
    .map(({ text }) => JSON.parse(text))
    .filter((line) => line.message === message);

async function three(args, presenceArgs = []) {
  const made = await cluster({ gateways: 3, presence: 1, args, presenceArgs });
  const members = await eachBounded(made.gateways, 3, (gateway) => connect(gateway));
  return { ...made, members };
}

/** Exactly the five spans of one message, each a child of the one that caused it. */
function assertOneMessage(spans, members) {
  const [[send], [publish], fanOuts] = ['send_message', 'publish', 'fan-out'].map((name) => named(spans, name));
  assert.equal(spans.length, 5, spans.map((span) => span.name).join());
  assert.equal(send.parentSpanId ?? '', '', 'the client\'s event is the root');
  assert.deepEqual([send.kind, send.instance], ['server', 'gw-a']);
  assert.equal(publish.parentSpanId, send.spanId);
  assert.deepEqual([publish.kind, publish.instance], ['producer', 'gw-a']);
  assert.deepEqual(
    [publish.attributes['db.system.name'], publish.attributes['db.operation.name']],
    ['redis', 'EVALSHA'],
  );
  assert.deepEqual(fanOuts.map((span) => span.instance).sort(), NODES);
  for (const span of fanOuts) {
    assert.equal(span.parentSpanId, publish.spanId);
    assert.equal(span.kind, 'consumer');
    assert.equal(span.attributes['roomcast.node'], span.instance);
    assert.equal(span.attributes['roomcast.members'], members, `members on ${span.instance}`);
    assert.ok(span.attributes['roomcast.bytes'] > 0 && span.attributes['roomcast.offset'] > 0);
    assert.deepEqual(span.events.map(({ name }) => name), ['write']);
    assert.ok(span.took >= 0 && span.took < 5_000, `${span.took} ms`);
  }
  for (const span of spans) assert.deepEqual([span.service, span.version], ['roomcast-gateway', send.version]);
}

story('one message is one trace, on every gateway', { timeout: 60_000 }, async () => {
  const receiver = await otlpReceiver();
  const args = traced(receiver, 1, '--lease', '2s', '--log', 'info,roomcast_gateway=debug');
  const { gateways, presence, redis, members } = await three(args, traced(receiver, 1, '--lease', '2s'));
  const [a, b, c] = gateways;
  const [ann] = members;
  const room = unique('room');
  const secret = 'a-secret-text';
  const more = await eachBounded([a, b, c, a, b, c], 6, (gateway) => connect(gateway, { resume: secret }));
  for (const member of [...members, ...more]) await member.join(room);

  await step('the event, its publication and one fan-out a node, whatever the number of members', async () => {
    const { offset } = await ann.send(room, secret);
    for (const member of [...members, ...more]) await member.has(room, offset);
    const spans = await receiver.trace(root('send_message', room), 5, 'send_message');
    assertOneMessage(spans, 3);
    for (const gateway of gateways) await gateway.stop();
    assert.equal(receiver.spans().filter((span) => span.traceId === spans[0].traceId).length, 5, 'nothing came later');
    for (const gateway of gateways) await gateway.start(new URL(gateway.url).host, new URL(gateway.adminUrl).host);
  });

  await step('a join and its requests to the store', async () => {
    const ben = await connect(b);
    const quiet = unique('quiet');
    await ben.join(quiet);
    const spans = await receiver.trace(root('join', quiet), 5, 'join');
    const [join] = named(spans, 'join');
    const children = spans.filter((span) => span !== join);
    assert.deepEqual(
      new Set(children.map((span) => span.name)),
      new Set(['subscribe', 'log_read', 'presence_read', 'presence_write']),
    );
    for (const span of children) {
      assert.equal(span.parentSpanId, join.spanId, span.name);
      assert.equal(span.attributes['db.system.name'], 'redis');
    }
  });

  await step('the log lines of a request have its trace id', async () => {
    const cyd = await connect(a, { rejoin: true });
    const frozen = unique('frozen');
    await cyd.join(frozen);
    // The answer is lost; the gateway logs that and repeats the send.
    await redis.freeze();
    const sent = cyd.send(frozen, secret);
    const line = await eventually(
      () => logged(a, 'store request failed').find(({ what }) => what === 'publish'),
      { what: 'a failed publication is logged' },
    ).finally(() => redis.signal('SIGCONT'));
    await sent;
    const spans = await receiver.trace(root('send_message', frozen), 4, 'the send that was repeated');
    assert.equal(line.trace_id, spans[0].traceId);
    const publishes = named(spans, 'publish');
    assert.deepEqual(publishes.map((span) => span.attributes['error.type']).sort(), ['unknown', undefined]);
    const connects = new Set(named(receiver.spans(), 'connect').map((span) => span.traceId));
    const ids = logged(a, 'client signed in').map((line) => line.trace_id);
    assert.ok(ids.length > 0 && ids.every((id) => connects.has(id)), `${ids} of ${[...connects]}`);
  });

  await step('a refusal is a failed request', async () => {
    await ann.refused('send_message', { room: unique('elsewhere'), text: secret }, 'not_joined');
    const failed = (span) => span.name === 'send_message' && span.attributes['error.type'] === 'not_joined';
    const [span] = await receiver.trace(failed, 1, 'a refused send');
    assert.equal(span.status.code, 2);
  });

  await step('the sweep of a dead gateway is a trace of the presence service', async () => {
    const dee = await connect(c);
    await dee.join(unique('last'));
    // The gateways that were stopped before are swept, too.
    const sweeps = () => receiver.spans().filter((span) => span.name === 'sweep' && span.attributes['roomcast.rooms'] > 0);
    const before = sweeps().length;
    await c.kill9();
    await eventually(() => sweeps().length > before, { what: 'a sweep is traced' });
    const sweep = sweeps().at(-1);
    assert.equal(sweep.service, 'roomcast-presence');
    const children = () => receiver.spans().filter((span) => span.parentSpanId === sweep.spanId);
    await eventually(() => children().some((span) => span.name === 'presence_sweep'), { what: 'its scripts are in it' });
    const ids = logged(presence[0], 'swept a dead node').map((line) => line.trace_id);
    assert.ok(ids.includes(sweep.traceId), `${ids}`);
  });

  assert.ok(!receiver.text().includes(secret), 'neither texts nor secrets are in traces');
});

story('batched messages each have a trace, and each trace ends', { timeout: 60_000 }, async () => {
  const receiver = await otlpReceiver();
  const { members } = await three(traced(receiver, 1, '--batch-window', '100ms'));
  const room = unique('hot');
  for (const member of members) await member.join(room);
  const texts = Array.from({ length: 40 }, (_, n) => `${n}`);
  await Promise.all(texts.map((text) => members[0].send(room, text)));
  await eventually(() => receiver.spans().filter(root('send_message', room)).length === texts.length, {
    what: 'every send is traced',
  });
  const fanOuts = () => named(receiver.spans(), 'fan-out');
  await eventually(() => fanOuts().length >= 3 * texts.length, { what: () => `every fan-out ends: ${fanOuts().length}` });
  for (const send of receiver.spans().filter(root('send_message', room))) {
    assertOneMessage(receiver.spans().filter((span) => span.traceId === send.traceId), 1);
  }
  assert.ok(fanOuts().some((span) => span.attributes['roomcast.batched'] > 5), 'some were sent in one batch');
});

story('with a ratio of 0 no spans are sent, and log lines still have trace ids', { timeout: 60_000 }, async () => {
  const receiver = await otlpReceiver();
  const { gateways, members } = await three(traced(receiver, 0, '--log', 'info,roomcast_gateway=debug'));
  const room = unique('room');
  for (const member of members) await member.join(room);
  const { offset } = await members[0].send(room, 'hi');
  for (const member of members) await member.has(room, offset);
  const ids = gateways.flatMap((gateway) => logged(gateway, 'client signed in').map((line) => line.trace_id));
  assert.equal(ids.length, 3);
  assert.ok(new Set(ids).size === 3 && ids.every((id) => ID.test(id)), `${ids}`);
  for (const gateway of gateways) await gateway.stop();
  assert.deepEqual(receiver.spans(), []);
});

story('a missing collector has no effect on clients, and spans are sent once it is available', { timeout: 60_000 }, async () => {
  const receiver = await otlpReceiver();
  const { address } = receiver;
  await receiver.stop();
  const { gateways, members } = await three(traced(receiver, 1));
  const room = unique('room');
  for (const member of members) await member.join(room);
  const complaints = () => gateways.flatMap((gateway) => logged(gateway, 'cannot export traces'));
  const chat = async () => {
    for (let n = 0; n < 20; n++) await within(1_000, 'a send is acknowledged', members[n % 3].send(room, `${n}`));
  };
  await chat();
  await eventually(() => complaints().length === 3, {
    timeout: 20_000,
    what: () => `each gateway complains: ${JSON.stringify(complaints())}`,
  });
  await chat();

  await step('it comes', async () => {
    const back = await otlpReceiver(address);
    await eventually(
      async () => {
        await chat();
        return new Set(named(back.spans(), 'send_message').map((span) => span.instance)).size === 3;
      },
      { timeout: 20_000, what: 'traces arrive' },
    );
    assert.equal(complaints().length, 3, 'logged once');
    await back.stop();
  });

  await step('when it is gone again, shutdown does not wait for unsent spans', async () => {
    await chat();
    const begun = performance.now();
    await Promise.all(gateways.map((gateway) => gateway.stop()));
    assert.ok(performance.now() - begun < 10_000, `${performance.now() - begun} ms`);
  });
});
