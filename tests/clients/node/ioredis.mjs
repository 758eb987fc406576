// ioredis in its single-server form: data, pipelines, transactions, scripts, scans, blocking, pub/sub, streams.
import assert from 'node:assert/strict';
import Redis from 'ioredis';
import { host, numbers, port, waitFor } from './place.mjs';

const redis = new Redis(port, host, { maxRetriesPerRequest: 1 });
const other = redis.duplicate();
const passed = (name) => console.log('ok', name);

assert.equal(await redis.set('io:name', 'John Doe'), 'OK');
assert.equal(await redis.get('io:name'), 'John Doe');
await redis.mset(Object.fromEntries(numbers(50).map((n) => [`io:m:${n}`, n])));
assert.deepEqual(await redis.mget(numbers(50).map((n) => `io:m:${n}`)), numbers(50).map(String));
await assert.rejects(redis.lpush('io:name', 1), /WRONGTYPE/);
passed('data');

const pipeline = redis.pipeline();
for (const n of numbers(100)) pipeline.set(`io:p:${n}`, n);
pipeline.get('io:p:7');
const answers = await pipeline.exec();
assert.deepEqual(answers.at(-1), [null, '7']);
assert.ok(answers.slice(0, -1).every(([error, answer]) => !error && answer === 'OK'));
const auto = new Redis(port, host, { enableAutoPipelining: true });
assert.deepEqual(await Promise.all(numbers(50).map((n) => auto.get(`io:p:${n}`))), numbers(50).map(String));
passed('pipelines');

assert.deepEqual(await redis.multi().set('io:{t}:a', 1).incr('io:{t}:a').exec(), [[null, 'OK'], [null, 2]]);
assert.deepEqual(await redis.multi().set('io:t:a', 1).set('io:t:b', 2).get('io:t:a').exec(),
  [[null, 'OK'], [null, 'OK'], [null, '1']]);
await other.watch('io:w');
await redis.set('io:w', 'changed');
assert.equal(await other.multi().set('io:w', 'lost').exec(), null);
assert.equal(await redis.get('io:w'), 'changed');
passed('transactions');

redis.defineCommand('limit', { numberOfKeys: 1, lua: "return redis.call('INCR', KEYS[1]) <= tonumber(ARGV[1]) and 1 or 0" });
assert.deepEqual([await redis.limit('io:l', 2), await redis.limit('io:l', 2), await redis.limit('io:l', 2)], [1, 1, 0]);
passed('scripts');

const found = new Set();
for await (const keys of redis.scanStream({ match: 'io:p:*', count: 20 })) keys.forEach((key) => found.add(key));
assert.equal(found.size, 100);
passed('scans');

const popped = other.blpop('io:q:1', 'io:q:2', 20);
await waitFor('a blocked client', async () => /blocked_clients:[1-9]/.test(await redis.info('clients')));
await redis.rpush('io:q:2', 'job');
assert.deepEqual(await popped, ['io:q:2', 'job']);
passed('blocking');

const subscriber = redis.duplicate();
const heard = [];
subscriber.on('message', (channel, message) => heard.push([channel, message]));
subscriber.on('pmessage', (pattern, channel, message) => heard.push([pattern, channel, message]));
assert.equal(await subscriber.subscribe('io:news', 'io:more'), 2);
assert.equal(await subscriber.psubscribe('io:ne*'), 3);
assert.equal(await redis.publish('io:news', 'hello'), 2);
await waitFor('two messages', () => heard.length === 2);
assert.deepEqual(heard.sort(), [['io:ne*', 'io:news', 'hello'], ['io:news', 'hello']]);
passed('pub/sub');

const id = await redis.xadd('io:events', '*', 'action', 'click');
assert.deepEqual(await redis.xrange('io:events', '-', '+'), [[id, ['action', 'click']]]);
await redis.xgroup('CREATE', 'io:events', 'workers', '0');
const read = await redis.xreadgroup('GROUP', 'workers', 'one', 'COUNT', 1, 'BLOCK', 1000, 'STREAMS', 'io:events', '>');
assert.deepEqual(read, [['io:events', [[id, ['action', 'click']]]]]);
assert.equal(await redis.xack('io:events', 'workers', id), 1);
passed('streams');

for (const client of [redis, other, auto, subscriber]) client.disconnect();
