// ioredis and node-redis write, take from queues and listen without end while the cluster is hurt, until a line comes on
// standard input. What a client is told must be what it is told to expect: a write that was answered is there afterwards,
// an element is taken once, and a subscriber stays connected.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import Redis from 'ioredis';
import { createClient } from 'redis';
import { host, port } from './place.mjs';

let stopped = false;
once(process.stdin, 'data').then(() => { stopped = true; });
const [known, uncertain] = [new Map(), new Set()];
let writes = 0;

// An error of the kind that README describes; anything else ends the test.
function expected(error) {
  assert.match(error.message, /^UNCERTAIN /);
}

async function write(worker, set, get, pair) {
  for (let n = 0; !stopped; n += 1) {
    const key = `steady:${worker}:${n % 50}`;
    try {
      await set(key, String(n));
      known.set(key, String(n));
      uncertain.delete(key);
      assert.equal(await get(key), String(n));
      await pair(`steady:{${worker}}:a`, `steady:{${worker}}:b`);
      writes += 1;
    } catch (error) {
      expected(error);
      uncertain.add(key);
    }
  }
}

const connect = () => new Redis({ host, port, maxRetriesPerRequest: null });
const other = createClient({ socket: { host, port } });
await other.connect();
const one = connect();
const pairOfOne = async (a, b) => {
  for (const [error] of await one.multi().incr(a).incr(b).exec()) assert.equal(error, null);
};

const taken = [];
async function take() {
  const client = connect();
  for (;;) {
    const found = await client.blpop('steady:queue', 1).catch(expected);
    if (found?.[1] === 'last') return client.quit();
    if (found) taken.push(found[1]);
  }
}

const listener = connect();
let heard = 0;
let ended = 0;
listener.on('message', () => { heard += 1; });
listener.on('end', () => { ended += 1; });
await listener.subscribe('steady:news');

const pushed = [];
async function push() {
  for (let n = 0; !stopped; n += 1) {
    // Who is told of an error pushes the next one, so that each element has one answer.
    const done = await one.rpush('steady:queue', `element ${n}`).then(() => true, expected);
    if (done) pushed.push(`element ${n}`);
    await one.publish('steady:news', `${n}`).catch(expected);
    if (n === 20) console.log('running');
  }
}

const workers = [
  write(0, (key, n) => one.set(key, n), (key) => one.get(key), pairOfOne),
  write(1, (key, n) => other.set(key, n), (key) => other.get(key), (a, b) => other.multi().incr(a).incr(b).exec()),
  push(),
];
const taking = take();
await Promise.all(workers);
const hurt = heard;
while (heard === hurt) await one.publish('steady:news', 'again');
await one.rpush('steady:queue', 'last');
await taking;
for (const [key, value] of known) {
  if (!uncertain.has(key)) assert.equal(await one.get(key), value, key);
}
assert.equal(new Set(taken).size, taken.length, 'an element was taken twice');
assert.equal(ended, 0, 'the subscriber was disconnected');
console.log('ok', writes, 'writes,', uncertain.size, 'uncertain,', pushed.length - taken.length, 'elements not told of');
process.exit(0);
