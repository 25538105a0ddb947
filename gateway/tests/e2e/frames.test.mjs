// Golden frames against the official JavaScript parser: it must decode them as expected and encode the same
// bytes. crates/protocol/tests/it holds the Rust types to the same file. Run by `node --test`; the
// parsers come with socket.io-client.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import test from 'node:test';

const client = createRequire(createRequire(import.meta.url).resolve('socket.io-client'));
const { Decoder, Encoder, PacketType } = client('socket.io-parser');
const engine = createRequire(client.resolve('engine.io-client'))('engine.io-parser');

const { frames, refused } = JSON.parse(
  readFileSync(new URL('../../../crates/protocol/fixtures/frames.json', import.meta.url), 'utf8'),
);

const PACKETS = { connect: PacketType.CONNECT, connected: PacketType.CONNECT, connect_error: PacketType.CONNECT_ERROR };

function decode(frame) {
  const { type, data } = engine.decodePacket(frame);
  assert.equal(type, 'message');
  let packet;
  const decoder = new Decoder();
  decoder.on('decoded', (decoded) => { packet = decoded; });
  decoder.add(data);
  return packet;
}

function encode(packet) {
  let frame;
  const [data] = new Encoder().encode(packet);
  engine.encodePacket({ type: 'message', data }, true, (encoded) => { frame = encoded; });
  return frame;
}

/** The expected data of a packet: the payload alone, after the event's name, or as an acknowledgement. */
function expected({ event, ack, payload }) {
  if (ack) return { type: PacketType.ACK, data: [payload] };
  if (event in PACKETS) return { type: PACKETS[event], data: payload };
  return { type: PacketType.EVENT, data: [event, payload] };
}

for (const fixture of frames) {
  const { name, direction, event, ack, frame, foreign } = fixture;
  test(`${direction} ${event ?? `${ack} answered`}: ${name}`, () => {
    const packet = decode(frame);
    const { type, data } = expected(fixture);
    assert.equal(packet.nsp, '/native');
    assert.equal(packet.type, type);
    assert.deepEqual(packet.data, data);
    // Frames of another encoder may differ in form.
    if (!foreign) assert.equal(encode({ type, nsp: '/native', id: packet.id, data }), frame);
  });
}

for (const { name, event, frame } of refused) {
  test(`refused ${event}: ${name}`, () => {
    assert.equal(encode(decode(frame)), frame, 'only the payload is wrong');
  });
}
