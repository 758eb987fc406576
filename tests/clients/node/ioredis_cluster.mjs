// ioredis' Cluster, which asks for the cluster's map: the gateway shows itself as a cluster of one node.
import assert from 'node:assert/strict';
import Redis from 'ioredis';
import { host, numbers, port } from './place.mjs';

const cluster = new Redis.Cluster([{ host, port }]);
await Promise.all(numbers(100).map((n) => cluster.set(`ioc:${n}`, n)));
assert.deepEqual(await Promise.all(numbers(100).map((n) => cluster.get(`ioc:${n}`))), numbers(100).map(String));
const pipeline = cluster.pipeline();
for (const n of numbers(100)) pipeline.incr(`ioc:${n}`);
assert.deepEqual(await pipeline.exec(), numbers(100).map((n) => [null, n + 1]));
assert.equal(cluster.nodes('master').length, 1);
console.log('ok');
cluster.disconnect();
