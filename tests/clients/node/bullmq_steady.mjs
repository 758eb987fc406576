// BullMQ while the cluster is hurt: every job that was accepted is done, whatever its workers were told meanwhile.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Queue, Worker } from 'bullmq';
import { host, port, waitFor } from './place.mjs';

const connection = { host, port, maxRetriesPerRequest: null };
const options = { connection, prefix: '{bull}' };
const queue = new Queue('steady', options);
const done = new Set();
const told = [];
const work = async (job) => { done.add(job.data.n); };
const worker = new Worker('steady', work, { ...options, concurrency: 4, stalledInterval: 1_000, lockDuration: 2_000 });
worker.on('error', (error) => told.push(error.message));
await worker.waitUntilReady();

let stopped = false;
once(process.stdin, 'data').then(() => { stopped = true; });
const accepted = [];
for (let n = 0; !stopped; n += 1) {
  try {
    await queue.add('count', { n });
    accepted.push(n);
  } catch (error) {
    told.push(error.message);
  }
  if (n === 20) console.log('running');
}
await waitFor('all jobs', () => accepted.every((n) => done.has(n)));
// Its own word for a lock that it could not renew in time stands beside the gateway's.
for (const text of told) assert.match(text, /UNCERTAIN |lock/, text);
console.log('ok', accepted.length, 'jobs,', told.length, 'errors');
process.exit(0);
