// The metrics of the client. k6 adds the tag `scenario` to each value; durations are in milliseconds. Used by socket.ts,
// and by scripts that measure deliveries.

import { Counter, Rate, Trend } from "k6/metrics";

/** From the start of a connection to the answer of its namespace. */
export const connectDuration = new Trend("sio_connect_duration", true);
/** From an event to its acknowledgement; those that came in time only. */
export const ackDuration = new Trend("sio_ack_duration", true);
/** From the time in a message to its arrival: `SocketOptions.sentAt` reads that time. */
export const deliveryDuration = new Trend("sio_delivery_duration", true);
/** The share of acknowledgements that came in time. */
export const ackOk = new Rate("sio_ack_ok");
export const eventsSent = new Counter("sio_events_sent");
export const eventsReceived = new Counter("sio_events_received");
/** Connections that were refused, or did not come about; tag `reason`. */
export const connectErrors = new Counter("sio_connect_errors");
/** Connections that ended and that the script had not closed; tag `reason`. */
export const disconnects = new Counter("sio_disconnects");
export const reconnects = new Counter("sio_reconnects");
