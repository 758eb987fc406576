// The guide's "Client Code Examples" for Node.js, unchanged but for where the cluster is.
import assert from 'node:assert/strict';
import Redis from 'ioredis';

const port = Number(process.env.REDIS_PORT);

// Connect to cluster
const cluster =
  process.env.GUIDE_CLIENT === 'cluster'
    ? new Redis.Cluster([{ port, host: 'localhost' }], {
        redisOptions: {
          password: 'your-password',
        },
      })
    : new Redis({ port, host: 'localhost', password: 'your-password' });

// Basic operations
await cluster.set('user:1000:name', 'John Doe');
const name = await cluster.get('user:1000:name');
assert.equal(name, 'John Doe');

// Pipeline
const pipeline = cluster.pipeline();
for (let i = 0; i < 100; i++) {
  pipeline.set(`key:${i}`, `value:${i}`);
}
assert.ok((await pipeline.exec()).every(([error, answer]) => !error && answer === 'OK'));

// Streams
await cluster.xadd('events', '*', 'action', 'click', 'user', '1000');
const events = await cluster.xrange('events', '-', '+', 'COUNT', 10);
assert.deepEqual(events[0][1], ['action', 'click', 'user', '1000']);

// Pub/Sub
const subscriber = cluster.duplicate();
const heard = new Promise((done) => {
  subscriber.subscribe('notifications', (err, count) => {
    console.log(`Subscribed to ${count} channels`);
    assert.equal(err, null);
    cluster.publish('notifications', 'Hello!');
  });
  subscriber.on('message', (channel, message) => {
    console.log(`Received: ${message}`);
    done([channel, message]);
  });
});
assert.deepEqual(await heard, ['notifications', 'Hello!']);
console.log('ok');
process.exit(0);
