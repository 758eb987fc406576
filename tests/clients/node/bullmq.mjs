// BullMQ: jobs, retries, delays, priorities, flows, events. Its scripts touch several keys of one queue, so the
// prefix must be a hash tag: BULLMQ_PREFIX={bull}.
import assert from 'node:assert/strict';
import { FlowProducer, Queue, QueueEvents, Worker } from 'bullmq';
import { host, numbers, port } from './place.mjs';

const connection = { host, port, maxRetriesPerRequest: null };
const options = { connection, prefix: process.env.BULLMQ_PREFIX ?? '{bull}' };
const queue = new Queue('jobs', options);
const events = new QueueEvents('jobs', options);
await events.waitUntilReady();
const order = [];
const worker = new Worker(
  'jobs',
  async (job) => {
    order.push(job.name);
    if (job.name === 'flaky' && job.attemptsMade < 2) throw new Error('on purpose');
    if (job.name === 'parent') return Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0);
    return job.data.n * 2;
  },
  { ...options, concurrency: 4 },
);
await worker.waitUntilReady();
const ended = (job) => job.waitUntilFinished(events, 30_000);

const jobs = await queue.addBulk(numbers(50).map((n) => ({ name: 'double', data: { n } })));
assert.deepEqual(await Promise.all(jobs.map(ended)), numbers(50).map((n) => n * 2));
console.log('ok jobs');
const flaky = await queue.add('flaky', { n: 1 }, { attempts: 3, backoff: { type: 'fixed', delay: 50 } });
assert.equal(await ended(flaky), 2);
console.log('ok retries');
const began = Date.now();
assert.equal(await ended(await queue.add('delayed', { n: 2 }, { delay: 500 })), 4);
assert.ok(Date.now() - began >= 450);
console.log('ok delays');
const flow = await new FlowProducer(options).add({
  name: 'parent', queueName: 'jobs', data: { n: 0 },
  children: numbers(3).map((n) => ({ name: 'child', queueName: 'jobs', data: { n: n + 1 } })),
});
assert.equal(await ended(flow.job), 12);
console.log('ok flows');
assert.equal(await queue.getJobCountByTypes('completed'), 50 + 1 + 1 + 4);
await worker.close();
await queue.obliterate({ force: true });
console.log('ok');
process.exit(0);
