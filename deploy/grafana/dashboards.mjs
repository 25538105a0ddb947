// The Grafana dashboards, described compactly. `make generate-observability` writes dashboards/*.json, which
// Grafana reads as they are, from compose and in Kubernetes alike; picture.mjs draws the same files.
//
// Order of rows: health and objectives, requests, saturation, bus and Redis, a table of processes. Every
// panel says what it shows and what to make of it, in a unit. Instances are named by the label `instance`.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { SLOS, budgetOf, failureShare } from '../prometheus/rules.mjs';
import { loadTest } from './load-dashboard.mjs';
import { NS, RATE, UP_DOWN, YES_NO, choice, dashboard, lines, mean, quantile, quantiles, query, rate, stat, steps, table } from './panels.mjs';

const GATEWAY = 'job="roomcast-gateway"';
const PRESENCE = 'job="roomcast-presence"';
const BOTH = 'job=~"roomcast-(gateway|presence)"';
const firing = stat('Alerts firing', 'Alerts of Roomcast that fire now. Each has a section in docs/OPERATIONS.md.', 'short', `count(ALERTS{alertname=~"Roomcast.*", alertstate="firing", ${NS}})`, {
  thresholds: steps([[null, 'green'], [1, 'red']]),
  noValue: 'none',
});

const cluster = dashboard('roomcast-cluster', 'Roomcast / Cluster', 'Is the chat well, and how much does it do? Begin here.', [], [
  ['Health and objectives', [
    stat('Gateways up', 'Gateways that Prometheus reaches.', 'short', `sum(up{${GATEWAY}, ${NS}})`, { thresholds: steps([[null, 'red'], [1, 'orange'], [2, 'green']]) }),
    stat('Presence services up', 'Presence services that Prometheus reaches. Chat works without; dead gateways are then not swept.', 'short', `sum(up{${PRESENCE}, ${NS}})`, { thresholds: steps([[null, 'red'], [1, 'green']]) }),
    stat('Redis', 'Whether every process reaches Redis.', 'short', `min(roomcast_redis_up{${NS}})`, { mappings: UP_DOWN }),
    stat('Bus', 'Whether every gateway receives its own heartbeat through Redis.', 'short', `min(roomcast_bus_up{${NS}})`, { mappings: UP_DOWN }),
    stat('Connections', 'Clients connected to all gateways.', 'short', `sum(roomcast_connections{${NS}})`),
    stat('Users online', 'Distinct users, as the presence service counts them.', 'short', `max(roomcast_presence_users{${NS}})`),
    stat('Messages a second', 'Messages stored by all gateways.', 'reqps', rate('roomcast_messages_stored_total'), { decimals: 1 }),
    firing,
    lines('Error budgets: burn rate over an hour', 'How many times faster than allowed each objective spends its budget of 30 days. Above 14.4 somebody is woken, above 6 too if it lasts; 1 is what may be spent.', 'none',
      SLOS.map((slo) => query(`max(${failureShare(slo.name, '1h')}{${NS}}) / ${budgetOf(slo)}`, slo.name)), { limits: [[1, 'yellow'], [6, 'orange'], [14.4, 'red']] }),
    lines('Failed share over five minutes', 'Connects that were not answered ok, messages written later than 250 ms after they were stored, messages after which a room had to be read anew.', 'percentunit',
      SLOS.map(({ name }) => query(`max(${failureShare(name, '5m')}{${NS}})`, name))),
    lines('Delivery lag', 'From the moment a message was stored to the write to the last member on a node. The objective is 250 ms.', 's', quantiles('roomcast_delivery_lag_seconds'), { limits: [[0.25, 'red']] }),
  ]],
  ['Requests', [
    lines('Client events', 'Events that clients sent, by name.', 'reqps', [query(rate('roomcast_events_received_total', { by: 'event' }), '{{event}}')], { stack: true }),
    lines('Messages and deliveries', 'Messages stored, and events given to members: the quotient is the average audience.', 'reqps', [
      query(rate('roomcast_messages_stored_total'), 'messages stored'),
      query(rate('roomcast_deliveries_total'), 'deliveries'),
    ]),
    lines('Refusals', 'Requests refused, by code. 1000s and 2000s are clients\' mistakes, `busy` is pressure, `unavailable` and `outcome_unknown` are Redis.', 'reqps', [query(rate('roomcast_refusals_total', { by: 'code' }), '{{code}}')], { stack: true }),
    lines('Connects', 'Connect packets answered, by outcome.', 'reqps', [query(rate('roomcast_connects_total', { by: 'outcome' }), '{{outcome}}')], { stack: true }),
    lines('Disconnects and cuts', 'Clients that went, by reason, and transports that a gateway closed itself (cut).', 'reqps', [
      query(rate('roomcast_disconnects_total', { by: 'reason' }), '{{reason}}'),
      query(rate('roomcast_cuts_total', { by: 'reason' }), 'cut: {{reason}}'),
    ]),
    lines('Connect duration', 'Connect packet to answer; it asks Redis for the name.', 's', quantiles('roomcast_connect_duration_seconds')),
    lines('Traffic', 'Bytes of WebSocket connections.', 'Bps', [query(rate('roomcast_received_bytes_total'), 'received'), query(rate('roomcast_sent_bytes_total'), 'sent')]),
    lines('Polls passed on', 'Long-polling requests and upgrades that reached another gateway than that of their session, by outcome.', 'reqps', [query(rate('roomcast_forwarded_total', { by: 'kind, outcome' }), '{{kind}} {{outcome}}')]),
    lines('Rooms and members', 'Rooms with members on a gateway (a room on three gateways counts three times) and memberships.', 'short', [query(`sum(roomcast_rooms{${NS}})`, 'rooms'), query(`sum(roomcast_members{${NS}})`, 'members')]),
  ]],
  ['Saturation', [
    lines('Connections', 'By gateway. New gateways only get new connections.', 'short', [query(`sum by (instance) (roomcast_connections{${NS}})`, '{{instance}}')], { width: 6 }),
    lines('CPU', 'Cores used by each process.', 'none', [query(`rate(process_cpu_seconds_total{${BOTH}, ${NS}}[${RATE}])`, '{{instance}}')], { width: 6 }),
    lines('Memory', 'Resident memory of each process.', 'bytes', [query(`process_resident_memory_bytes{${BOTH}, ${NS}}`, '{{instance}}')], { width: 6 }),
    lines('Waiting for slow sockets', 'Bytes queued for clients that read slowly. Each client is cut at its bound.', 'bytes', [query(`sum by (instance) (roomcast_queue_bytes{${NS}})`, '{{instance}}')], { width: 6 }),
  ]],
  ['Bus and Redis', [
    lines('Bus lag', 'Heartbeat through Redis, sent to received.', 's', quantiles('roomcast_bus_lag_seconds'), { width: 6 }),
    lines('Redis latency', '99 of 100 requests are faster, by operation.', 's', [query(quantile(0.99, 'roomcast_redis_duration_seconds', { by: 'operation' }), '{{operation}}')], { width: 6 }),
    lines('Redis errors', 'Failed requests, by kind.', 'reqps', [query(rate('roomcast_redis_errors_total', { by: 'kind' }), '{{kind}}')], { width: 6 }),
    lines('Gaps, heals, resyncs', 'News that may have been missed, rooms read again because of it, and members that had to read again: only the last lose anything.', 'reqps', [
      query(rate('roomcast_gaps_total'), 'gaps'),
      query(rate('roomcast_heals_total', { by: 'outcome' }), 'healed: {{outcome}}'),
      query(rate('roomcast_resyncs_total'), 'resyncs'),
    ], { width: 6 }),
  ]],
  ['Processes', [
    table('Gateways', 'One line for each gateway.', [
      ['Version', 'short', `sum by (instance, version) (roomcast_build_info{${GATEWAY}, ${NS}})`],
      ['Ready', 'short', `sum by (instance) (roomcast_ready{${GATEWAY}, ${NS}})`],
      ['Connections', 'short', `sum by (instance) (roomcast_connections{${NS}})`],
      ['Rooms', 'short', `sum by (instance) (roomcast_rooms{${NS}})`],
      ['Members', 'short', `sum by (instance) (roomcast_members{${NS}})`],
      ['Deliveries', 'reqps', `sum by (instance) (rate(roomcast_deliveries_total{${NS}}[${RATE}]))`],
      ['CPU', 'none', `sum by (instance) (rate(process_cpu_seconds_total{${GATEWAY}, ${NS}}[${RATE}]))`],
      ['Memory', 'bytes', `sum by (instance) (process_resident_memory_bytes{${GATEWAY}, ${NS}})`],
      ['Open files', 'percentunit', `sum by (instance) (process_open_fds{${GATEWAY}, ${NS}} / process_max_fds{${GATEWAY}, ${NS}})`],
      ['Up for', 's', `time() - sum by (instance) (process_start_time_seconds{${GATEWAY}, ${NS}})`],
    ]),
  ]],
]);

const ONE = 'instance=~"$instance"';
const one = (labels = '') => `{${NS}, ${ONE}${labels && `, ${labels}`}}`;
const gateway = dashboard('roomcast-gateway', 'Roomcast / Gateway', 'One gateway, or several side by side: what it does and what holds it back.', [
  choice('instance', 'Gateway', `label_values(roomcast_ready{${GATEWAY}, ${NS}}, instance)`),
], [
  ['Health', [
    stat('Ready', 'Whether the gateway wants traffic; /readyz says what is missing.', 'short', `min(roomcast_ready${one(GATEWAY)})`, { mappings: UP_DOWN }),
    stat('Redis', 'Whether its commands are answered.', 'short', `min(roomcast_redis_up${one(GATEWAY)})`, { mappings: UP_DOWN }),
    stat('Bus', 'Whether its heartbeat through Redis comes back.', 'short', `min(roomcast_bus_up${one()})`, { mappings: UP_DOWN }),
    stat('Lease', 'Whether it holds its lease. Without, its users are taken for gone.', 'short', `min(roomcast_lease_held${one()})`, { mappings: UP_DOWN }),
    stat('Draining', 'Whether it is going away.', 'short', `max(roomcast_draining${one()})`, { mappings: YES_NO }),
    stat('Still to close', 'Clients not yet closed in the drain.', 'short', `sum(roomcast_drain_remaining${one()})`),
    stat('Up for', 'Since the process started; of several, the youngest.', 's', `time() - max(process_start_time_seconds${one(GATEWAY)})`),
    stat('Connections', 'Clients connected.', 'short', `sum(roomcast_connections${one()})`),
  ]],
  ['Requests', [
    lines('Connections', 'By transport.', 'short', [query(`sum by (instance, transport) (roomcast_connections${one()})`, '{{instance}} {{transport}}')], { stack: true }),
    lines('Connects', 'Connect packets answered, by outcome.', 'reqps', [query(rate('roomcast_connects_total', { by: 'outcome', labels: ONE }), '{{outcome}}')], { stack: true }),
    lines('Disconnects and cuts', 'Clients that went, by reason, and transports that the gateway closed itself (cut).', 'reqps', [
      query(rate('roomcast_disconnects_total', { by: 'reason', labels: ONE }), '{{reason}}'),
      query(rate('roomcast_cuts_total', { by: 'reason', labels: ONE }), 'cut: {{reason}}'),
    ]),
    lines('Client events', 'Events that clients sent, by name.', 'reqps', [query(rate('roomcast_events_received_total', { by: 'event', labels: ONE }), '{{event}}')], { stack: true }),
    lines('Joins, messages, deliveries', 'Joins and messages of its clients, and events given to its members.', 'reqps', [
      query(rate('roomcast_joins_total', { labels: ONE }), 'joins'),
      query(rate('roomcast_messages_stored_total', { labels: ONE }), 'messages stored'),
      query(rate('roomcast_deliveries_total', { labels: ONE }), 'deliveries'),
    ]),
    lines('Refusals', 'Requests refused, by code.', 'reqps', [query(rate('roomcast_refusals_total', { by: 'code', labels: ONE }), '{{code}}')], { stack: true }),
    lines('Delivery lag', 'From the moment a message was stored to the write to the last member here.', 's', quantiles('roomcast_delivery_lag_seconds', ONE), { limits: [[0.25, 'red']] }),
    lines('Fan-out', 'One frame to all members here, first to last.', 's', quantiles('roomcast_fanout_duration_seconds', ONE)),
    lines('Audience', 'Members per fan-out: the average and the largest of a hundred.', 'short', [
      query(mean('roomcast_fanout_members', { labels: ONE }), 'average'),
      query(quantile(0.99, 'roomcast_fanout_members', { labels: ONE }), 'p99'),
    ]),
    lines('Traffic', 'Bytes of WebSocket connections.', 'Bps', [
      query(rate('roomcast_received_bytes_total', { labels: ONE }), 'received'),
      query(rate('roomcast_sent_bytes_total', { labels: ONE }), 'sent'),
    ]),
    lines('Frames per write', 'Frames batched into one write to a socket. A busy room is batched, which is what makes it cheap.', 'none', [
      query(`${rate('roomcast_frames_written_total', { by: 'instance', labels: ONE })} / ${rate('roomcast_writes_total', { by: 'instance', labels: ONE })}`, '{{instance}}'),
    ]),
    lines('Polls passed on', 'Requests of sessions that another gateway has, by outcome.', 'reqps', [query(rate('roomcast_forwarded_total', { by: 'kind, outcome', labels: ONE }), '{{kind}} {{outcome}}')]),
  ]],
  ['Saturation', [
    lines('CPU', 'Cores used.', 'none', [query(`rate(process_cpu_seconds_total${one(GATEWAY)}[${RATE}])`, '{{instance}}')], { width: 6 }),
    lines('Runtime busy', 'Share of the time in which the threads that serve had work. Near 100 % everything waits.', 'percentunit', [
      query(`sum by (instance) (rate(roomcast_runtime_busy_seconds_total${one(GATEWAY)}[${RATE}])) / sum by (instance) (roomcast_runtime_workers${one(GATEWAY)})`, '{{instance}}'),
    ], { width: 6, max: 1 }),
    lines('Memory', 'Resident memory.', 'bytes', [
      query(`process_resident_memory_bytes${one(GATEWAY)}`, '{{instance}}'),
    ], { width: 6 }),
    lines('Waiting for slow sockets', 'Bytes queued for clients that read slowly.', 'bytes', [query(`roomcast_queue_bytes${one()}`, '{{instance}}')], { width: 6 }),
    lines('Tasks', 'Tasks alive in the runtime: several for each connection.', 'short', [query(`roomcast_runtime_tasks${one(GATEWAY)}`, '{{instance}}')], { width: 6 }),
    lines('Tasks waiting', 'Tasks ready to run that wait for a thread.', 'short', [query(`roomcast_runtime_queue_depth${one(GATEWAY)}`, '{{instance}}')], { width: 6 }),
    lines('Open files', 'Share of the files that the process may open; each connection is one.', 'percentunit', [query(`process_open_fds${one(GATEWAY)} / process_max_fds${one(GATEWAY)}`, '{{instance}}')], { width: 6 }),
    lines('Rooms and members', 'Rooms with members here, and memberships.', 'short', [
      query(`sum(roomcast_rooms${one()})`, 'rooms'),
      query(`sum(roomcast_members${one()})`, 'members'),
    ], { width: 6 }),
  ]],
  ['Bus and Redis', [
    lines('Bus', 'Messages received from the bus.', 'reqps', [query(rate('roomcast_bus_messages_total', { by: 'instance', labels: ONE }), '{{instance}}')], { width: 6 }),
    lines('Bus lag', 'Heartbeat through Redis, sent to received.', 's', quantiles('roomcast_bus_lag_seconds', ONE), { width: 6 }),
    lines('Redis latency', '99 of 100 requests are faster, by operation.', 's', [query(quantile(0.99, 'roomcast_redis_duration_seconds', { by: 'operation', labels: `${ONE}, ${GATEWAY}` }), '{{operation}}')], { width: 6 }),
    lines('Redis errors', 'Failed requests, by kind.', 'reqps', [query(rate('roomcast_redis_errors_total', { by: 'kind', labels: `${ONE}, ${GATEWAY}` }), '{{kind}}')], { width: 6 }),
    lines('Gaps, heals, resyncs', 'News that may have been missed, rooms read again because of it, members that had to read again.', 'reqps', [
      query(rate('roomcast_gaps_total', { labels: ONE }), 'gaps'),
      query(rate('roomcast_heals_total', { by: 'outcome', labels: ONE }), 'healed: {{outcome}}'),
      query(rate('roomcast_resyncs_total', { labels: ONE }), 'resyncs'),
    ], { width: 12 }),
    lines('Subscribed again', 'How long it took from the loss of the bus to every room subscribed again; the average of what happened lately.', 's', [
      query(mean('roomcast_resubscribe_duration_seconds', { by: 'instance', labels: ONE }), '{{instance}}'),
    ], { width: 12 }),
  ]],
  ['Processes', [
    table('Gateways', 'One line for each gateway.', [
      ['Version', 'short', `sum by (instance, version) (roomcast_build_info${one(GATEWAY)})`],
      ['Connections', 'short', `sum by (instance) (roomcast_connections${one()})`],
      ['Deliveries', 'reqps', `sum by (instance) (rate(roomcast_deliveries_total${one()}[${RATE}]))`],
      ['Queue', 'bytes', `sum by (instance) (roomcast_queue_bytes${one()})`],
      ['CPU', 'none', `sum by (instance) (rate(process_cpu_seconds_total${one(GATEWAY)}[${RATE}]))`],
      ['Memory', 'bytes', `sum by (instance) (process_resident_memory_bytes${one(GATEWAY)})`],
      ['Threads', 'short', `sum by (instance) (process_threads${one(GATEWAY)})`],
    ]),
  ]],
]);

const presence = dashboard('roomcast-presence-redis', 'Roomcast / Presence and Redis', 'Who is online, who cleans up after dead gateways, and the memory that all share, as its users see it.', [], [
  ['Health', [
    stat('Presence services up', 'Presence services that Prometheus reaches.', 'short', `sum(up{${PRESENCE}, ${NS}})`, { thresholds: steps([[null, 'red'], [1, 'green']]) }),
    stat('Redis', 'Whether every process reaches Redis.', 'short', `min(roomcast_redis_up{${NS}})`, { mappings: UP_DOWN }),
    stat('Processes without Redis', 'How many processes cannot reach it: all is Redis, one is that one\'s network.', 'short', `count(roomcast_redis_up{${NS}}) - sum(roomcast_redis_up{${NS}})`, { thresholds: steps([[null, 'green'], [1, 'red']]) }),
    stat('Users online', 'Distinct users of the cluster.', 'short', `max(roomcast_presence_users{${NS}})`),
    stat('Connections', 'Clients connected to all gateways.', 'short', `sum(roomcast_connections{${NS}})`),
    stat('Live nodes', 'Gateways with a lease.', 'short', `max(roomcast_presence_nodes{${NS}})`),
    stat('Dead, not forgotten', 'Dead gateways whose traces are not all gone; each stays two leases.', 'short', `max(roomcast_sealed_nodes{${NS}})`),
    firing,
  ]],
  ['Requests', [
    lines('Users and connections', 'Users can be fewer than connections (tabs), and more only for the grace period. More for long are ghosts.', 'short', [
      query(`max(roomcast_presence_users{${NS}})`, 'users online'),
      query(`sum(roomcast_connections{${NS}})`, 'connections'),
      query(`sum(roomcast_members{${NS}})`, 'memberships'),
    ]),
    lines('Directory', 'Requests to the directory, by route and status.', 'reqps', [query(rate('roomcast_directory_requests_total', { by: 'route, status' }), '{{route}} {{status}}')]),
    lines('Directory latency', '99 of 100 answers are faster, by route.', 's', [query(quantile(0.99, 'roomcast_directory_request_seconds', { by: 'route' }), '{{route}}')]),
    lines('Sweeps', 'Dead gateways noticed, sweeps that ended well (two for each) and gateways forgotten.', 'reqps', [
      query(rate('roomcast_sealed_nodes_total'), 'noticed'),
      query(rate('roomcast_sweeps_total'), 'sweeps'),
      query(rate('roomcast_forgotten_nodes_total'), 'forgotten'),
    ]),
    lines('Swept', 'What sweeps removed: users in rooms, and names.', 'reqps', [
      query(rate('roomcast_swept_facts_total'), 'users in rooms'),
      query(rate('roomcast_swept_names_total'), 'names'),
    ]),
    lines('Sweeper errors', 'Failures by step; each is tried again.', 'reqps', [query(rate('roomcast_sweep_errors_total', { by: 'step, kind' }), '{{step}}: {{kind}}')]),
  ]],
  ['Saturation', [
    lines('CPU', 'Cores used by each presence service.', 'none', [query(`rate(process_cpu_seconds_total{${PRESENCE}, ${NS}}[${RATE}])`, '{{instance}}')]),
    lines('Memory', 'Resident memory of each presence service.', 'bytes', [query(`process_resident_memory_bytes{${PRESENCE}, ${NS}}`, '{{instance}}')]),
    lines('Directory connections', 'Open connections of the directory.', 'short', [query(`sum by (instance) (roomcast_directory_connections{${NS}})`, '{{instance}}')]),
  ]],
  ['Redis', [
    lines('Requests', 'Requests to Redis by all processes, by operation.', 'reqps', [query(rate('roomcast_redis_duration_seconds_count', { by: 'operation' }), '{{operation}}')], { stack: true }),
    lines('Latency', 'Half, 95 and 99 of 100 requests are faster.', 's', quantiles('roomcast_redis_duration_seconds')),
    lines('Latency by operation', '99 of 100 requests are faster.', 's', [query(quantile(0.99, 'roomcast_redis_duration_seconds', { by: 'operation' }), '{{operation}}')]),
    lines('Errors', 'Failed requests, by process and kind.', 'reqps', [query(rate('roomcast_redis_errors_total', { by: 'instance, kind' }), '{{instance}} {{kind}}')]),
    lines('Reachable', 'Which processes reach Redis.', 'short', [query(`sum by (instance) (roomcast_redis_up{${NS}})`, '{{instance}}')], { max: 1 }),
    lines('Bus lag', 'Heartbeat through pub/sub, by gateway; 99 of 100 are faster.', 's', [query(quantile(0.99, 'roomcast_bus_lag_seconds', { by: 'instance' }), '{{instance}}')]),
  ]],
  ['Processes', [
    table('Presence services', 'One line for each presence service.', [
      ['Version', 'short', `sum by (instance, version) (roomcast_build_info{${PRESENCE}, ${NS}})`],
      ['Ready', 'short', `sum by (instance) (roomcast_ready{${PRESENCE}, ${NS}})`],
      ['Users', 'short', `sum by (instance) (roomcast_presence_users{${NS}})`],
      ['Nodes', 'short', `sum by (instance) (roomcast_presence_nodes{${NS}})`],
      ['Requests', 'reqps', `sum by (instance) (rate(roomcast_directory_requests_total{${NS}}[${RATE}]))`],
      ['CPU', 'none', `sum by (instance) (rate(process_cpu_seconds_total{${PRESENCE}, ${NS}}[${RATE}]))`],
      ['Memory', 'bytes', `sum by (instance) (process_resident_memory_bytes{${PRESENCE}, ${NS}})`],
      ['Up for', 's', `time() - sum by (instance) (process_start_time_seconds{${PRESENCE}, ${NS}})`],
    ]),
  ]],
]);

/** By file name. */
export const DASHBOARDS = { cluster, gateway, 'presence-redis': presence, 'load-test': loadTest };

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, data] of Object.entries(DASHBOARDS)) {
    writeFileSync(new URL(`dashboards/${name}.json`, import.meta.url), `${JSON.stringify(data, null, 2)}\n`);
  }
}
