"""redis-py with asyncio: many tasks on one pool, pipelines, pub/sub, blocking and locks at the same time."""

import asyncio

import redis.asyncio as redis
from place import URL


async def counters(r):
    async def count(n):
        for _ in range(20):
            await r.incr(f"aio:count:{n % 10}")

    await asyncio.gather(*(count(n) for n in range(50)))
    assert sum(int(n) for n in await r.mget([f"aio:count:{n}" for n in range(10)])) == 1000


async def pipelines(r):
    async with r.pipeline(transaction=True) as pipe:
        for n in range(50):
            pipe.hset(f"aio:h:{n}", "field", n)
        assert await pipe.execute() == [1] * 50


async def pubsub(r):
    got = []
    async with r.pubsub() as listener:
        await listener.subscribe("aio:news")

        async def listen():
            async for message in listener.listen():
                if message["type"] == "message":
                    got.append(message["data"])
                    if len(got) == 10:
                        return

        task = asyncio.create_task(listen())
        while not dict(await r.pubsub_numsub("aio:news"))["aio:news"]:
            await asyncio.sleep(0.01)
        for n in range(10):
            await r.publish("aio:news", str(n))
        await asyncio.wait_for(task, 20)
    assert got == [str(n) for n in range(10)]


async def queue(r):
    async def consume():
        found = []
        while (got := await r.blpop(["aio:q:1", "aio:q:2", "aio:q:3"], timeout=20))[1] != "end":
            found.append(got[1])
        return found

    consumers = [asyncio.create_task(consume()) for _ in range(3)]
    for n in range(60):
        await r.rpush(f"aio:q:{n % 3 + 1}", str(n))
    for _ in consumers:
        await r.rpush("aio:q:1", "end")
    found = [one for consumer in consumers for one in await asyncio.wait_for(consumer, 30)]
    left = [one for n in (1, 2, 3) for one in await r.lrange(f"aio:q:{n}", 0, -1)]
    assert sorted(map(int, found + left)) == list(range(60)), "an element was lost or delivered twice"


async def locks(r):
    inside, most = 0, 0

    async def enter():
        nonlocal inside, most
        async with r.lock("aio:lock", timeout=20, sleep=0.005):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(10)))
    assert most == 1, "two tasks held one lock"


async def main():
    r = redis.from_url(URL, decode_responses=True)
    for one in (counters, pipelines, locks, pubsub, queue):
        await one(r)
        print("ok", one.__name__, flush=True)
    await r.aclose()


asyncio.run(main())
