"""huey: tasks, results, retries, schedules, priorities and locks."""

import threading
import time

from huey import PriorityRedisHuey, RedisHuey
from huey.consumer import Consumer
from place import URL

NAME = "slotway"


def exercise(huey):
    tries = []

    @huey.task()
    def add(x, y):
        return x + y

    @huey.task(retries=2, retry_delay=0)
    def flaky():
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("on purpose")
        return len(tries)

    @huey.task()
    @huey.lock_task("only-one")
    def locked():
        return "locked"

    consumer = Consumer(huey, workers=2, periodic=False, scheduler_interval=1, check_worker_health=False)
    consumer.start()
    try:
        assert add(2, 3)(blocking=True, timeout=30) == 5
        results = [add(n, n) for n in range(20)]
        assert [one(blocking=True, timeout=30) for one in results] == [2 * n for n in range(20)]
        assert flaky()(blocking=True, timeout=30) == 3
        assert locked()(blocking=True, timeout=30) == "locked"
        began = time.monotonic()
        assert add.schedule((1, 1), delay=1)(blocking=True, timeout=30) == 2
        assert time.monotonic() - began > 0.5
        revoked = add.schedule((1, 1), delay=60)
        revoked.revoke()
        assert revoked.is_revoked()
    finally:
        consumer.stop(graceful=True)
    print("ok", type(huey).__name__, flush=True)


def main():
    # Otherwise the result of a first try may be read before the second one.
    last_word = {"url": URL, "store_intermediate_errors": False}
    exercise(RedisHuey(NAME, **last_word))
    exercise(PriorityRedisHuey(NAME + ".priority", **last_word))
    assert threading.active_count() < 20


main()
