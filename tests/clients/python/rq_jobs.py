"""What the workers of rq_app.py run."""

import redis


def add(x, y):
    return x + y


def fail():
    raise RuntimeError("on purpose")


def fail_once(key, url):
    if redis.Redis.from_url(url).incr(key) == 1:
        raise RuntimeError("the first time")
    return "second time"
