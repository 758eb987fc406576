"""Where the server under test is, and how a script waits."""

import os
import time

HOST = "127.0.0.1"
PORT = int(os.environ["REDIS_PORT"])
URL = f"redis://{HOST}:{PORT}/0"


def wait_for(what, condition, patience=30):
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {patience} s in vain for {what}"
        time.sleep(0.02)
