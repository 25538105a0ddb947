// Metrics of a process, read from its admin listener and compared.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { eventually, request } from './harness.mjs';

/** All current values, by series: `name{label="value"}` as in the text. */
export async function scrape(service) {
  const { status, body } = await request(`${service.adminUrl}/metrics`);
  assert.equal(status, 200, body);
  const lines = body.split('\n').filter((line) => line && !line.startsWith('#'));
  const values = new Map(
    lines.map((line) => {
      const end = line.lastIndexOf(' ');
      return [line.slice(0, end), Number(line.slice(end + 1))];
    }),
  );
  /** The value of a series, which must exist: a rate over a series that appears with its first event misses that event. */
  const of = (series) => {
    assert.ok(values.has(series), `${series} is not in the metrics`);
    return values.get(series);
  };
  return { of, body, values };
}

/** The change of each series since `before`. */
export async function moved(service, before) {
  const now = await scrape(service);
  return (series) => now.of(series) - before.of(series);
}

/** Waits until the condition holds for the current metrics. */
export const eventuallyMeasured = (service, what, condition, timeout = 10_000) =>
  eventually(async () => condition((await scrape(service)).of), { what, timeout, every: 50 });

/** CPU that a process has used so far, in milliseconds. */
export function cpu(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  // utime and stime, in ticks of 10 ms.
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
