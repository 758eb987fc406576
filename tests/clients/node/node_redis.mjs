// node-redis, both protocols: data, pipelines, transactions, scripts, scans, blocking, pub/sub, streams.
import assert from 'node:assert/strict';
import { createClient, defineScript } from 'redis';
import { host, numbers, port, waitFor } from './place.mjs';

for (const RESP of [2, 3]) {
  const p = `nr${RESP}`;
  const limit = defineScript({
    SCRIPT: "return redis.call('INCR', KEYS[1]) <= tonumber(ARGV[1]) and 1 or 0",
    NUMBER_OF_KEYS: 1,
    parseCommand(parser, key, most) {
      parser.pushKey(key);
      parser.push(String(most));
    },
    transformReply: (reply) => reply,
  });
  const client = createClient({ socket: { host, port }, RESP, scripts: { limit } });
  client.on('error', (error) => {
    throw error;
  });
  await client.connect();
  const other = client.duplicate();
  await other.connect();
  const passed = (name) => console.log('ok', RESP, name);

  await client.set(`${p}:name`, 'John Doe', { expiration: { type: 'EX', value: 100 } });
  assert.equal(await client.get(`${p}:name`), 'John Doe');
  await client.hSet(`${p}:h`, { a: '1', b: '2' });
  assert.deepEqual({ ...(await client.hGetAll(`${p}:h`)) }, { a: '1', b: '2' });
  await client.mSet(Object.fromEntries(numbers(50).map((n) => [`${p}:m:${n}`, String(n)])));
  assert.deepEqual(await client.mGet(numbers(50).map((n) => `${p}:m:${n}`)), numbers(50).map(String));
  await assert.rejects(client.lPush(`${p}:name`, 'x'), /WRONGTYPE/);
  passed('data');

  assert.deepEqual(await Promise.all(numbers(100).map((n) => client.incr(`${p}:n:${n % 10}`))),
    numbers(100).map((n) => Math.floor(n / 10) + 1));
  passed('pipelines');

  assert.deepEqual(await client.multi().set(`${p}:a`, '1').set(`${p}:b`, '2').get(`${p}:a`).exec(), ['OK', 'OK', '1']);
  await other.watch(`${p}:w`);
  await client.set(`${p}:w`, 'changed');
  await assert.rejects(other.multi().set(`${p}:w`, 'lost').exec(), /watch/i);
  assert.equal(await client.get(`${p}:w`), 'changed');
  passed('transactions');

  assert.deepEqual([await client.limit(`${p}:l`, 2), await client.limit(`${p}:l`, 2), await client.limit(`${p}:l`, 2)],
    [1, 1, 0]);
  passed('scripts');

  const found = new Set();
  for await (const keys of client.scanIterator({ MATCH: `${p}:m:*`, COUNT: 20 })) keys.forEach((key) => found.add(key));
  assert.equal(found.size, 50);
  passed('scans');

  const popped = other.blPop([`${p}:q:1`, `${p}:q:2`], 20);
  await waitFor('a blocked client', async () => /blocked_clients:[1-9]/.test(await client.info('clients')));
  await client.rPush(`${p}:q:2`, 'job');
  assert.deepEqual({ ...(await popped) }, { key: `${p}:q:2`, element: 'job' });
  passed('blocking');

  const subscriber = client.duplicate();
  await subscriber.connect();
  const heard = [];
  await subscriber.subscribe(`${p}:news`, (message, channel) => heard.push([channel, message]));
  await subscriber.pSubscribe(`${p}:ne*`, (message, channel) => heard.push([channel, message]));
  await client.publish(`${p}:news`, 'hello');
  await waitFor('two messages', () => heard.length === 2);
  await subscriber.unsubscribe(`${p}:news`);
  await subscriber.pUnsubscribe(`${p}:ne*`);
  passed('pub/sub');

  const id = await client.xAdd(`${p}:events`, '*', { action: 'click' });
  const entries = await client.xRange(`${p}:events`, '-', '+');
  assert.equal(entries[0].id, id);
  assert.equal(entries[0].message.action, 'click');
  passed('streams');

  for (const one of [client, other, subscriber]) one.destroy();
}
