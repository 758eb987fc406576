"""redis-py's client-side cache: what was read is answered from memory, until somebody writes to it."""

import threading

import redis
from place import HOST, PORT, wait_for
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection

# It wants a server of version 7.4. What it asks of it is in 7.0 as well.
CacheProxyConnection.MIN_ALLOWED_VERSION = "7.0.0"


def cached():
    return redis.Redis(host=HOST, port=PORT, protocol=3, decode_responses=True, cache_config=CacheConfig())


def commands(other):
    return other.info("stats")["total_commands_processed"]


def reads_come_from_memory(r, other):
    other.set("cache:a", "1")
    other.hset("cache:h", mapping={"f": 1})
    assert r.get("cache:a") == "1" and r.hgetall("cache:h") == {"f": "1"}
    before = commands(other)
    for _ in range(500):
        assert r.get("cache:a") == "1" and r.hgetall("cache:h") == {"f": "1"}
    asked = commands(other) - before
    assert asked < 100, f"{asked} commands for 1000 reads"
    other.set("cache:a", "2")
    wait_for("the new value", lambda: r.get("cache:a") == "2")
    other.hset("cache:h", "f", 2)
    wait_for("the new field", lambda: r.hgetall("cache:h") == {"f": "2"})
    r.set("cache:a", "3")
    wait_for("its own value", lambda: r.get("cache:a") == "3")


def keys_of_all_slots(r, other):
    keys = [f"cache:{n}" for n in range(300)]
    other.mset(dict.fromkeys(keys, "old"))
    assert [r.get(key) for key in keys] == ["old"] * 300 and r.mget(keys) == ["old"] * 300
    other.mset(dict.fromkeys(keys, "new"))
    wait_for("new values", lambda: [r.get(key) for key in keys] == ["new"] * 300)
    wait_for("all of them", lambda: r.mget(keys) == ["new"] * 300)
    other.delete(*keys)
    wait_for("their end", lambda: [r.get(key) for key in keys] == [None] * 300)


def whatever_writes(r, other):
    def changes(write, read, value):
        read()
        write()
        wait_for(value, lambda: read() == value)

    other.sadd("cache:s", "x"), other.sadd("cache:t", "x", "y")
    changes(lambda: other.incr("cache:n"), lambda: r.get("cache:n"), "1")
    changes(lambda: other.eval("return redis.call('SET', KEYS[1], 7)", 1, "cache:n"), lambda: r.get("cache:n"), "7")
    changes(lambda: other.pipeline().incr("cache:n").execute(), lambda: r.get("cache:n"), "8")
    changes(lambda: other.pexpire("cache:n", 1), lambda: r.get("cache:n"), None)
    # Computed from two slots.
    changes(lambda: other.sadd("cache:s", "y"), lambda: r.sinter("cache:s", "cache:t"), {"x", "y"})
    changes(lambda: other.sunionstore("cache:s", "cache:none", "cache:none"), lambda: r.smembers("cache:s"), set())


def threads(r, other):
    """A counter that one thread raises never goes back in the eyes of others.

    Each has a client of its own: with one for all, redis-py reads one connection in several threads at once, and now
    and then waits for what another thread has taken.
    """
    other.set("cache:count", 0)
    ended, faults = threading.Event(), []

    def read():
        r, last = cached(), 0
        while not ended.is_set():
            value = int(r.get("cache:count"))
            if value < last:
                faults.append((last, value))
            last = value

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for n in range(1, 301):
        other.set("cache:count", n)
    ended.set()
    for reader in readers:
        reader.join()
    assert not faults, faults
    wait_for("the last value", lambda: r.get("cache:count") == "300")


def main():
    r, other = cached(), redis.Redis(host=HOST, port=PORT, decode_responses=True)
    for one in (reads_come_from_memory, keys_of_all_slots, whatever_writes, threads):
        one(r, other)
        print("ok", one.__name__, flush=True)


main()
