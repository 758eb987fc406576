// Where the server under test is, and how a script waits and ends.
export const host = '127.0.0.1';
export const port = Number(process.env.REDIS_PORT);

export async function waitFor(what, condition, patience = 30_000) {
  const deadline = Date.now() + patience;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited ${patience} ms in vain for ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

export const numbers = (count) => Array.from({ length: count }, (_, n) => n);
