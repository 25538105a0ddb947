// The thread that carries out synchronous requests while the VU's thread waits for them. Started by blocking.mjs.
import { workerData } from 'node:worker_threads';
import { HttpClient } from './http-client.mjs';

const { port, wake } = workerData;
const client = new HttpClient();

port.on('message', async ({ id, request }) => {
  const response = await client.request(request);
  port.postMessage({ id, response });
  Atomics.add(wake, 0, 1);
  Atomics.notify(wake, 0);
});
