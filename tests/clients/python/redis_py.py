"""redis-py, synchronous, both protocols: what an application does with one server."""

import sys
import threading

import redis
from place import HOST, PORT, wait_for


def data_types(r, p):
    assert r.ping() and r.echo("hello") == "hello"
    assert r.set(f"{p}:name", "John Doe") and r.get(f"{p}:name") == "John Doe"
    assert r.set(f"{p}:name", "x", nx=True) is None and r.getset(f"{p}:name", "Jane") == "John Doe"
    assert r.incrby(f"{p}:n", 5) == 5 and r.ttl(f"{p}:n") == -1
    assert r.expire(f"{p}:n", 100) and 90 < r.ttl(f"{p}:n") <= 100
    assert r.hset(f"{p}:h", mapping={"a": 1, "b": 2}) == 2 and r.hgetall(f"{p}:h") == {"a": "1", "b": "2"}
    assert r.rpush(f"{p}:l", *range(5)) == 5 and r.lrange(f"{p}:l", 1, 2) == ["1", "2"]
    assert r.sadd(f"{p}:s", "x", "y") == 2 and r.smembers(f"{p}:s") == {"x", "y"}
    assert r.zadd(f"{p}:z", {"a": 1, "b": 2}) == 2 and r.zscore(f"{p}:z", "b") == 2.0
    assert [one[0] for one in r.zrange(f"{p}:z", 0, -1, withscores=True)] == ["a", "b"]
    assert r.pfadd(f"{p}:p", 1, 2, 3) == 1 and r.pfcount(f"{p}:p") == 3
    assert r.geoadd(f"{p}:g", (13.36, 38.11, "Palermo")) == 1 and r.setbit(f"{p}:b", 7, 1) == 0
    binary = bytes(range(256)) * 100
    raw = redis.Redis(host=HOST, port=PORT)
    assert raw.set(f"{p}:raw", binary) and raw.get(f"{p}:raw") == binary
    try:
        r.lpush(f"{p}:name", 1)
        raise AssertionError("a list operation on a string")
    except redis.ResponseError as error:
        assert str(error).startswith("WRONGTYPE"), error


def across_slots(r, p):
    pairs = {f"{p}:{n}": str(n) for n in range(100)}
    assert r.mset(pairs)
    assert r.mget(list(pairs)) == list(pairs.values())
    assert r.exists(*pairs) == 100 and r.delete(*pairs) == 100
    r.sadd(f"{p}:sa", 1, 2, 3), r.sadd(f"{p}:sb", 2, 3, 4)
    assert r.sinter(f"{p}:sa", f"{p}:sb") == {"2", "3"}
    assert r.sunionstore(f"{p}:sc", f"{p}:sa", f"{p}:sb") == 4


def pipelines(r, p):
    """redis-py wraps a pipeline in MULTI unless told otherwise."""
    for transaction in (True, False):
        pipe = r.pipeline(transaction=transaction)
        for n in range(100):
            pipe.set(f"{p}:{transaction}:{n}", n)
        pipe.get(f"{p}:{transaction}:7")
        assert pipe.execute() == [True] * 100 + ["7"], transaction
    with r.pipeline() as pipe:
        pipe.set(f"{{{p}}}:a", 1).incr(f"{{{p}}}:a").lpush(f"{{{p}}}:a", 1)
        answers = pipe.execute(raise_on_error=False)
    assert answers[:2] == [True, 2] and str(answers[2]).startswith("WRONGTYPE"), answers


def optimistic_locking(r, p):
    key = f"{p}:balance"
    r.set(key, 0)
    clashes = []

    def add(pipe):
        value = int(pipe.get(key))
        if not clashes:
            clashes.append(redis.Redis(host=HOST, port=PORT).incr(key))
        pipe.multi()
        pipe.set(key, value + 10)

    r.transaction(add, key)
    assert r.get(key) == "11", "the other client's write was lost"


def locks(r, p):
    with r.lock(f"{p}:lock", timeout=10):
        assert r.lock(f"{p}:lock", timeout=10).acquire(blocking=False) is False
        assert r.lock(f"{p}:lock", blocking_timeout=0.2).acquire() is False
    lock = r.lock(f"{p}:lock", timeout=1)
    assert lock.acquire() and lock.extend(10) and lock.owned()
    lock.release()


def scripts(r, p):
    limiter = r.register_script("local n = redis.call('INCR', KEYS[1]) return n <= tonumber(ARGV[1]) and 1 or 0")
    assert [limiter(keys=[f"{p}:limit"], args=[2]) for _ in range(3)] == [1, 1, 0]
    assert r.eval("return {KEYS[1], ARGV[1]}", 1, f"{p}:k", "v") == [f"{p}:k", "v"]
    assert r.script_exists(limiter.sha) == [True]


def scanning(r, p):
    expected = {f"{p}:scan:{n}" for n in range(500)}
    r.mset(dict.fromkeys(expected, 1))
    assert set(r.scan_iter(f"{p}:scan:*", count=50)) == expected
    assert set(r.keys(f"{p}:scan:*")) == expected
    assert r.dbsize() >= 500


def blocking(r, p):
    got = []

    def wait():
        other = redis.Redis(host=HOST, port=PORT, decode_responses=True)
        got.append(other.blpop([f"{p}:q1", f"{p}:q2"], timeout=20))

    waiter = threading.Thread(target=wait)
    waiter.start()
    wait_for("a blocked client", lambda: r.info("clients")["blocked_clients"] >= 1)
    r.rpush(f"{p}:q2", "job")
    waiter.join(20)
    assert got == [(f"{p}:q2", "job")], got
    assert r.blpop(f"{p}:nothing", timeout=0.1) is None


def pubsub(r, p):
    listener = r.pubsub()
    listener.subscribe(f"{p}:news")
    listener.psubscribe(f"{p}:*")
    wait_for("two confirmations", lambda: len([m for m in [listener.get_message(timeout=1)] if m]) and
             len([m for m in [listener.get_message(timeout=1)] if m]))
    r.publish(f"{p}:news", "hello")
    kinds = {listener.get_message(timeout=5)["type"] for _ in range(2)}
    assert kinds == {"message", "pmessage"}, kinds
    listener.unsubscribe(), listener.punsubscribe()
    listener.close()


def streams(r, p):
    stream = f"{p}:events"
    first = r.xadd(stream, {"action": "created"})
    r.xgroup_create(stream, "workers", id="0")
    entries = r.xreadgroup("workers", "one", {stream: ">"}, count=10, block=100)
    # RESP3 gives a map, RESP2 pairs.
    found = list(entries.values())[0] if isinstance(entries, dict) else entries[0][1]
    assert str(found).count(first) == 1, entries
    assert r.xack(stream, "workers", first) == 1 and r.xlen(stream) == 1
    assert not r.xread({stream: "$"}, block=50)


EVERYTHING = [data_types, across_slots, pipelines, optimistic_locking, locks, scripts, scanning, blocking, pubsub,
              streams]


def main(names):
    for protocol in (2, 3):
        r = redis.Redis(host=HOST, port=PORT, protocol=protocol, decode_responses=True)
        for one in EVERYTHING:
            if not names or one.__name__ in names:
                one(r, f"py{protocol}:{one.__name__}")
                print("ok", protocol, one.__name__, flush=True)


main(sys.argv[1:])
