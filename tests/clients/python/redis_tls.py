"""redis-py over TLS; the client's certificate says which user it is."""

import os
import ssl

import redis
from place import PORT

PLACE = {"host": "localhost", "port": PORT, "ssl": True, "ssl_ca_certs": os.environ["TLS_CA"]}
CERTIFICATE = {"ssl_certfile": os.environ["TLS_CERTIFICATE"], "ssl_keyfile": os.environ["TLS_KEY"]}


def main():
    for protocol in (2, 3):
        r = redis.Redis(**PLACE, **CERTIFICATE, protocol=protocol, decode_responses=True)
        assert r.acl_whoami() == "app"
        large = "x" * 3_000_000
        assert r.set("py:large", large) and r.get("py:large") == large
        pipe = r.pipeline(transaction=False)
        for n in range(1000):
            pipe.set(f"py:{n}", n).get(f"py:{n}")
        assert pipe.execute() == [answer for n in range(1000) for answer in (True, str(n))]
        assert r.mget("py:1", "py:2") == ["1", "2"]
        r.close()
    strict = redis.Redis(**PLACE, **CERTIFICATE, ssl_min_version=ssl.TLSVersion.TLSv1_3)
    assert strict.ping()
    try:
        redis.Redis(**PLACE).ping()
    except redis.AuthenticationError:
        pass
    else:
        raise AssertionError("let in without a certificate and a password")
    try:
        redis.Redis(host="localhost", port=PORT, ssl=True).ping()
    except redis.ConnectionError as error:
        assert "CERTIFICATE_VERIFY_FAILED" in str(error), error
    else:
        raise AssertionError("believed an authority that it does not know")
    print("ok", flush=True)


main()
