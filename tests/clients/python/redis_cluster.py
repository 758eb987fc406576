"""redis-py's RedisCluster, which asks for the cluster's map: the gateway shows itself as a cluster of one node."""

from place import HOST, PORT
from redis.cluster import RedisCluster


def main():
    rc = RedisCluster(host=HOST, port=PORT, decode_responses=True)
    assert len(rc.get_primaries()) == 1 and rc.get_node(HOST, PORT) is not None
    for n in range(100):
        assert rc.set(f"rc:{n}", n)
    assert [rc.get(f"rc:{n}") for n in range(100)] == [str(n) for n in range(100)]
    pipe = rc.pipeline()
    for n in range(100):
        pipe.incr(f"rc:{n}")
    assert pipe.execute() == list(range(1, 101))
    assert rc.delete(*[f"rc:{n}" for n in range(100)]) == 100
    assert rc.hset("rc:h", mapping={"a": 1}) == 1 and rc.hgetall("rc:h") == {"a": "1"}
    print("ok", flush=True)


main()
