// The dashboard of a load test: what k6 did and saw, beside what the cluster says of itself in the same minutes. Written
// with the others by dashboards.mjs.
//
// k6 1.6 to 2.x write the same names to Prometheus (`k6 run -o experimental-prometheus-rw`): `k6_` and the metric's name,
// counters with `_total`, rates with `_rate`, trends with the statistic, `_p99` unless K6_PROMETHEUS_RW_TREND_STATS says
// otherwise, in seconds. They have the tags of the run as labels: `--tag namespace=…` makes them follow the choice above.
import { NS, RATE, choice, dashboard, lines, quantile, query, rate, stat, steps } from './panels.mjs';

const SCENARIO = 'scenario=~"$scenario"';
const k6 = (name, labels = SCENARIO) => `k6_${name}{${NS}${labels && `, ${labels}`}}`;
const k6Rate = (name, labels) => `sum(rate(${k6(`${name}_total`, labels)}[${RATE}]))`;
const k6Sum = (name) => `sum(${k6(`${name}_total`)})`;
const k6P99 = (name) => `max(${k6(`${name}_p99`)})`;
const NONE_ALLOWED = { thresholds: steps([[null, 'green'], [1, 'red']]) };

export const loadTest = dashboard('roomcast-load-test', 'Roomcast / Load test', 'What k6 did and saw, beside what the cluster says of itself. Both are needed: a gap between them is the network, or k6 itself at its limit.', [
  choice('scenario', 'Scenario', `label_values(${k6('iterations_total', '')}, scenario)`),
], [
  ['What must not happen', [
    stat('Missing', 'Messages that a member should have received and did not, in the run.', 'short', k6Sum('roomcast_missing'), NONE_ALLOWED),
    stat('Repeated', 'Messages that a member received twice.', 'short', k6Sum('roomcast_repeated'), NONE_ALLOWED),
    stat('Out of order', 'Messages that a member received in another order than the room has.', 'short', k6Sum('roomcast_misordered'), NONE_ALLOWED),
    stat('Unexplained leaves', 'Users that were said to leave while they were there.', 'short', k6Sum('roomcast_unexplained_leaves'), NONE_ALLOWED),
    stat('Not recovered', 'Members that came back and were not given what they had missed.', 'short', k6Sum('roomcast_resyncs'), NONE_ALLOWED),
    stat('Sends given up', 'Messages that were not acknowledged, with all retries.', 'short', k6Sum('roomcast_send_errors'), NONE_ALLOWED),
    stat('Connects refused', 'Connections that the server refused.', 'short', k6Sum('sio_connect_errors'), NONE_ALLOWED),
    stat('Acknowledged', 'Share of the events that were acknowledged in time, lately.', 'percentunit', `avg(${k6('sio_ack_ok_rate')})`, { thresholds: steps([[null, 'red'], [0.999, 'green']]), decimals: 2 }),
  ]],
  ['Load', [
    lines('VUs and connections', 'VUs of k6, each with several sockets, and the connections of all gateways. Connections that only k6 counts are not there.', 'short', [
      query(`max(${k6('vus', '')})`, 'k6: VUs'),
      query(`sum(roomcast_connections{${NS}})`, 'gateways: connections'),
    ]),
    lines('Messages', 'Messages that k6 sent with success, and that gateways stored. The difference is other users.', 'reqps', [
      query(k6Rate('roomcast_sends'), 'k6: sent'),
      query(rate('roomcast_messages_stored_total'), 'gateways: stored'),
    ]),
    lines('Deliveries', 'Messages that members in k6 received, and that gateways gave to members.', 'reqps', [
      query(k6Rate('roomcast_deliveries'), 'k6: received'),
      query(rate('roomcast_deliveries_total'), 'gateways: delivered'),
    ]),
    lines('Joins', 'Members that came into rooms, as both count them.', 'reqps', [
      query(k6Rate('roomcast_joins'), 'k6: joined'),
      query(rate('roomcast_joins_total'), 'gateways: joins'),
    ]),
    lines('Connections lost', 'Connections that k6 lost without wanting it, and those that gateways closed themselves, by reason.', 'reqps', [
      query(k6Rate('sio_disconnects'), 'k6: lost'),
      query(rate('roomcast_cuts_total', { by: 'reason' }), 'gateways: {{reason}}'),
    ]),
    lines('Iterations that found no VU', 'Where k6 could not begin what the scenario asked for: k6, not the cluster, is at its limit.', 'reqps', [
      query(k6Rate('dropped_iterations'), 'k6: dropped'),
    ]),
  ]],
  ['Time', [
    lines('Delivery', 'Slowest of a hundred: from the send to the receipt in k6, and from the store to the last write in a gateway.', 's', [
      query(k6P99('sio_delivery_duration'), 'k6: p99'),
      query(quantile(0.99, 'roomcast_delivery_lag_seconds'), 'gateways: p99'),
    ], { limits: [[0.25, 'red']] }),
    lines('Acknowledgement', 'Slowest of a hundred: from the send to the acknowledgement.', 's', [query(k6P99('sio_ack_duration'), 'k6: p99')]),
    lines('Connect', 'Slowest of a hundred: from the WebSocket to the answer in k6, and from the connect packet to its answer in a gateway.', 's', [
      query(k6P99('sio_connect_duration'), 'k6: p99'),
      query(quantile(0.99, 'roomcast_connect_duration_seconds'), 'gateways: p99'),
    ]),
  ]],
  ['What it costs the cluster', [
    lines('CPU', 'Cores used by each process.', 'none', [query(`rate(process_cpu_seconds_total{job=~"roomcast-(gateway|presence)", ${NS}}[${RATE}])`, '{{instance}}')], { width: 6 }),
    lines('Memory', 'Resident memory of each process.', 'bytes', [query(`process_resident_memory_bytes{job=~"roomcast-(gateway|presence)", ${NS}}`, '{{instance}}')], { width: 6 }),
    lines('Waiting for slow sockets', 'Bytes queued for clients that read slowly; k6 at its limit is one.', 'bytes', [query(`sum by (instance) (roomcast_queue_bytes{${NS}})`, '{{instance}}')], { width: 6 }),
    lines('Redis latency', '99 of 100 requests are faster, by operation.', 's', [query(quantile(0.99, 'roomcast_redis_duration_seconds', { by: 'operation' }), '{{operation}}')], { width: 6 }),
  ]],
]);
