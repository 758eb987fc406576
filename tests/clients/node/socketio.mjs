// Socket.IO with its Redis adapter: two servers, rooms across both, answers from everywhere.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import Redis from 'ioredis';
import { Server } from 'socket.io';
import { io as connect } from 'socket.io-client';
import { host, numbers, port, waitFor } from './place.mjs';

async function start() {
  const pub = new Redis(port, host);
  const http = createServer();
  const io = new Server(http, { adapter: createAdapter(pub, pub.duplicate()) });
  io.on('connection', (socket) =>
    socket.on('join', async (room, done) => {
      await socket.join(room);
      done();
    }),
  );
  await new Promise((done) => http.listen(0, '127.0.0.1', done));
  return { io, port: http.address().port };
}

const nodes = [await start(), await start()];
const heard = numbers(4).map(() => []);
for (const n of numbers(4)) {
  const client = connect(`http://127.0.0.1:${nodes[n % 2].port}`, { transports: ['websocket'] });
  client.on('news', (text) => heard[n].push(text));
  await new Promise((done) => client.on('connect', done));
  await new Promise((done) => client.emit('join', 'room', done));
}
await waitFor('servers that know each other', async () => (await nodes[0].io.in('room').fetchSockets()).length === 4);
for (const n of numbers(20)) nodes[n % 2].io.to('room').emit('news', n);
await waitFor('every message', () => heard.every((list) => list.length === 20));
for (const list of heard) assert.deepEqual(list.sort((a, b) => a - b), numbers(20));
console.log('ok rooms');
nodes[1].io.on('question', (text, answer) => answer(`${text}!`));
assert.deepEqual(await nodes[0].io.serverSideEmitWithAck('question', 'there'), ['there!']);
console.log('ok');
process.exit(0);
