// ioredis over TLS; the client's certificate says which user it is.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import Redis from 'ioredis';
import { numbers, port } from './place.mjs';

const read = (name) => fs.readFileSync(process.env[name]);
const ca = read('TLS_CA');
const tls = { ca, cert: read('TLS_CERTIFICATE'), key: read('TLS_KEY') };
const redis = new Redis({ host: 'localhost', port, tls });
assert.equal(await redis.acl('WHOAMI'), 'app');
const large = 'x'.repeat(3_000_000);
assert.equal(await redis.set('io:large', large), 'OK');
assert.equal(await redis.get('io:large'), large);
await Promise.all(numbers(1000).map((n) => redis.set(`io:${n}`, n)));
assert.deepEqual(await redis.mget(numbers(1000).map((n) => `io:${n}`)), numbers(1000).map(String));
redis.disconnect();

const stranger = new Redis({ host: 'localhost', port, tls: { ca }, lazyConnect: true, retryStrategy: null });
stranger.on('error', () => {});
await assert.rejects(stranger.set('io:1', 1), /NOAUTH|Connection is closed/);
stranger.disconnect();
console.log('ok');
