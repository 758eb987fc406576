"""Celery: broker and results on one endpoint; a worker that retries, a chord, a revoked task.

Its transport runs scripts over several keys of one queue, so CELERY_PREFIX, which stands before every key, must be
a hash tag such as {celery}.
"""

import os
import subprocess
import sys

import celery
from place import URL

PREFIX = os.environ.get("CELERY_PREFIX", "")
app = celery.Celery("celery_app", broker=URL, backend=URL)
app.conf.update(
    broker_transport_options={"global_keyprefix": PREFIX, "visibility_timeout": 60},
    result_backend_transport_options={"global_keyprefix": PREFIX},
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
    result_expires=600,
    worker_hijack_root_logger=False,
)


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def flaky(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.1)
    return self.request.retries


def main():
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "--pool=threads", "--concurrency=4",
         "--without-mingle", "--loglevel=WARNING"],
        cwd=os.path.dirname(os.path.abspath(__file__)),
    )
    try:
        assert add.delay(2, 3).get(timeout=60) == 5
        print("ok task", flush=True)
        results = [add.delay(n, n) for n in range(50)]
        assert [one.get(timeout=60) for one in results] == [2 * n for n in range(50)]
        print("ok fifty tasks", flush=True)
        assert flaky.delay().get(timeout=60) == 2
        print("ok retries", flush=True)
        chord = celery.chord(add.s(n, n) for n in range(10))(total.s())
        assert chord.get(timeout=60) == 90
        print("ok chord", flush=True)
        assert app.control.ping(timeout=5), "no worker answers the broadcast"
        print("ok remote control", flush=True)
    finally:
        worker.terminate()
        worker.wait(30)


if __name__ == "__main__":
    main()
