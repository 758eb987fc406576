"""Writes and reads without end while the cluster is hurt, until a line comes on standard input. An error that a
client sees must be one that it is told to expect; a write that was answered must be there afterwards."""

import sys
import threading

import redis
from place import HOST, PORT

stop = threading.Event()


def work(worker, known, uncertain):
    r = redis.Redis(host=HOST, port=PORT, decode_responses=True, socket_timeout=30)
    n = 0
    while not stop.is_set():
        key = f"steady:{worker}:{n % 50}"
        try:
            r.set(key, n)
            known[key] = n
            uncertain.discard(key)
            assert r.get(key) == str(n), f"{key} lost {n}"
            pipe = r.pipeline()
            pipe.incr(f"steady:{{{worker}}}:a").incr(f"steady:{{{worker}}}:b")
            pipe.execute()
        except redis.ResponseError as error:
            assert str(error).startswith("UNCERTAIN"), error
            uncertain.add(key)
        n += 1
        if n == 20:
            print("running", flush=True)


def main():
    known, uncertain, failed = {}, set(), []

    def guarded(worker):
        try:
            work(worker, known, uncertain)
        except BaseException as error:  # noqa: BLE001 - reported below
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not failed, failed
    r = redis.Redis(host=HOST, port=PORT, decode_responses=True)
    for key, n in known.items():
        if key not in uncertain:
            assert r.get(key) == str(n), f"{key} should be {n}, is {r.get(key)}"
    print("ok", len(known), "keys,", len(uncertain), "uncertain", flush=True)


main()
