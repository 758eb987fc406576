"""django-redis as the cache, and as the store of sessions."""

import django
from django.conf import settings
from place import URL

settings.configure(
    CACHES={
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": URL,
            "KEY_PREFIX": "django",
            "OPTIONS": {"CLIENT_CLASS": "django_redis.client.DefaultClient"},
        }
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    INSTALLED_APPS=["django.contrib.sessions"],
    USE_TZ=True,
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402 - after the settings
from django.core.cache import cache  # noqa: E402


def main():
    cache.set("user", {"name": "John", "age": 30}, timeout=60)
    assert cache.get("user") == {"name": "John", "age": 30} and 50 < cache.ttl("user") <= 60
    assert cache.add("user", 1) is False and cache.get_or_set("other", lambda: 7) == 7
    print("ok values", flush=True)
    many = {f"item:{n}": n for n in range(100)}
    assert not cache.set_many(many) and cache.get_many(many) == many
    assert cache.delete_many(many) == 100 and cache.get_many(many) == {}
    print("ok many", flush=True)
    cache.set("count", 1)
    assert cache.incr("count", 4) == 5 and cache.decr("count") == 4
    print("ok counters", flush=True)
    with cache.lock("lock", timeout=5):
        assert cache.lock("lock", timeout=5).acquire(blocking=False) is False
    print("ok locks", flush=True)
    cache.set_many({f"page:{n}": n for n in range(50)})
    assert sorted(cache.keys("page:*")) == sorted(f"page:{n}" for n in range(50))
    assert len(list(cache.iter_keys("page:*"))) == 50
    assert cache.delete_pattern("page:*") == 50 and list(cache.iter_keys("page:*")) == []
    print("ok patterns", flush=True)
    session = SessionStore()
    session["basket"] = [1, 2, 3]
    session.save()
    assert SessionStore(session.session_key)["basket"] == [1, 2, 3]
    print("ok sessions", flush=True)
    cache.clear()
    assert cache.get("user") is None
    print("ok clear", flush=True)


main()
