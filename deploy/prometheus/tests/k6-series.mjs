// What k6 would have written to Prometheus by remote write, as a page to scrape: every series that the dashboard of load
// tests asks for, with the labels of a run. k6 itself takes no part in tests. Used by live.test.mjs.
import { createServer } from 'node:http';

import { scope } from '../../../gateway/tests/e2e/harness.mjs';
import { loadTest } from '../../grafana/load-dashboard.mjs';
import { queries } from './queries.mjs';

const LABELS = '{scenario="chat",group=""}';

/** The names of k6's series in a dashboard. */
export function k6Series(dashboard) {
  const found = queries(dashboard, '1m').flatMap(({ expr }) => [...expr.matchAll(/\bk6_\w+/g)].map(([name]) => name));
  return [...new Set(found)].sort();
}

/** Serves them; the address to scrape. */
export async function k6Target() {
  const started = Date.now();
  const value = (name) => (name.endsWith('_total') ? Math.floor((Date.now() - started) / 10) : 0.5);
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'text/plain; version=0.0.4');
    response.end(k6Series(loadTest).map((name) => `${name}${LABELS} ${value(name)}\n`).join(''));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope().defer(() => server.close());
  return `127.0.0.1:${server.address().port}`;
}
