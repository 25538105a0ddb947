// The OTLP receiver of the OpenTelemetry Collector (otlp-receiver/), and the spans that it received.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { Child } from './processes.mjs';
import { eventually } from './wait.mjs';

const BINARY = fileURLToPath(new URL('../../../.tools/otlp-receiver', import.meta.url));
const KINDS = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer'];

/** Listens on this address, by default on a port that the system chooses. */
export async function otlpReceiver(address = '127.0.0.1:0') {
  assert.ok(existsSync(BINARY), `${BINARY} is missing: make e2e builds it`);
  const child = new Child('otlp-receiver', BINARY, [address]);
  const [, endpoint] = await child.line(/"Starting GRPC server".*"endpoint":"([^"]+)"/);
  const receiver = {
    address: endpoint,
    url: `http://${endpoint}`,
    stop: () => child.stop(),
    /** Every span that arrived, with its attributes as an object. */
    spans: () => child.lines.filter(({ text }) => text.startsWith('{"resourceSpans"')).flatMap(({ text }) => unpack(text)),
    /** All batches as they arrived. */
    text: () => child.lines.map(({ text }) => text).join('\n'),
    /** The spans of the trace of the one span that satisfies the condition, once there are `count`. */
    async trace(condition, count, what) {
      const find = () => {
        const [root, ...others] = receiver.spans().filter(condition);
        assert.equal(others.length, 0, `more than one span is ${what}`);
        return root && receiver.spans().filter((span) => span.traceId === root.traceId);
      };
      const shown = () => `a trace of ${count} spans of ${what}; got ${JSON.stringify(find(), null, 1)}`;
      await eventually(() => find()?.length >= count, { what: shown });
      return find();
    },
  };
  return receiver;
}

function unpack(line) {
  return JSON.parse(line).resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const { 'service.name': service, 'service.instance.id': instance, 'service.version': version } = object(resource.attributes);
    return scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        ...span,
        service,
        instance,
        version,
        kind: KINDS[span.kind],
        attributes: object(span.attributes),
        took: Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6,
      })),
    );
  });
}

function object(attributes = []) {
  const plain = ({ stringValue, intValue }) => stringValue ?? (intValue === undefined ? undefined : Number(intValue));
  return Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]));
}
