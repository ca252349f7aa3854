/** Serves folders until it is interrupted: node serve.mjs --port 8080 --root /=folder --root /pkg/=pkg */

import { parseArgs } from 'node:util';
import { startServer } from './server.mjs';

/** Ports tried after the one asked for. */
const NEXT_PORTS_MAX = 100;

const { values } = parseArgs({
  options: { port: { type: 'string', default: '8080' }, root: { type: 'string', multiple: true, default: [] } },
});
const roots = Object.fromEntries(
  values.root.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
);

/** Starts on the port, or on the next one that is free. */
async function start(port, last) {
  try {
    return await startServer({ roots, port, isolated: true });
  } catch (error) {
    if (error.code !== 'EADDRINUSE' || port >= last) throw error;
    return start(port + 1, last);
  }
}

const server = await start(Number(values.port), Number(values.port) + NEXT_PORTS_MAX);
console.log(`\n  ${server.origin}/\n\nPress Ctrl-C to stop.`);
