// Everything a test imports. Each test file starts its own cluster of real processes and its own
// redis-server, waits for conditions with a deadline, and fails, never skips, if a tool is missing.
//
//   story('name', { timeout }, async () => {          // owns everything started inside it
//     const { gateways: [a, b, c], presence, redis } = await cluster({ gateways: 3, presence: 2, args: ['--grace', '2s'] });
//     const ann = await connect(a, { name: 'ann', resume, namespace, transports, rejoin });
//     await ann.join('general'); await ann.send('general', 'hi'); ann.room('general').messages;
//     await b.kill9(); await b.stop(); await b.restart();  // restart: the same port
//     const address = await proxy([b, c]);               // each connection to the first that accepts it
//     const balanced = await balancer([a, b, c]);            // haproxy, round-robin, as `make cluster` runs it
//     await step('a part', async () => { … });
//   });
//
// Binaries are taken from ROOMCAST_BIN_DIR (target/debug if unset). A story also fails if one of its
// processes panicked or ended by itself; logs are printed only then.
export { Client, assertRefusal, connect, refusedConnect } from './client.mjs';
export { balancer, cluster, proxy } from './cluster.mjs';
export { Front, chats } from './front.mjs';
export { PythonClient } from './python.mjs';
export { RawSocket, pollingUrl, rawSocket, rawUser, request, sidOf, upgradeUrl } from './raw.mjs';
export { redisServer } from './redis.mjs';
export { scope, step, story } from './scope.mjs';
export { eachBounded, eventually, hopeless, quiet, unique, within } from './wait.mjs';
