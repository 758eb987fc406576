"""RQ: jobs, results, dependencies, failures, retries, in a burst worker of this process."""

import redis
from place import URL, wait_for
from rq import Queue, Retry, SimpleWorker
from rq.job import JobStatus
from rq.registry import FailedJobRegistry
from rq.timeouts import TimerDeathPenalty

import rq_jobs


class Worker(SimpleWorker):
    # The usual one needs signals.
    death_penalty_class = TimerDeathPenalty


def main():
    r = redis.Redis.from_url(URL)
    queue = Queue("slotway", connection=r)
    jobs = [queue.enqueue(rq_jobs.add, n, n) for n in range(10)]
    after = queue.enqueue(rq_jobs.add, 1, 1, depends_on=jobs)
    failing = queue.enqueue(rq_jobs.fail)
    retried = queue.enqueue(rq_jobs.fail_once, "rq:once", URL, retry=Retry(max=2))
    Worker([queue], connection=r).work(burst=True)
    assert [job.return_value() for job in jobs] == [2 * n for n in range(10)]
    print("ok jobs", flush=True)
    wait_for("the job that depends on others", lambda: after.get_status() in (JobStatus.QUEUED, JobStatus.FINISHED))
    Worker([queue], connection=r).work(burst=True)
    assert after.return_value() == 2
    print("ok dependencies", flush=True)
    assert failing.get_status() == JobStatus.FAILED and failing.id in FailedJobRegistry(queue=queue)
    print("ok failures", flush=True)
    assert retried.return_value() == "second time", retried.get_status()
    print("ok retries", flush=True)
    cancelled = queue.enqueue(rq_jobs.add, 1, 2)
    cancelled.cancel()
    assert queue.count == 0 and cancelled.get_status() == JobStatus.CANCELED
    print("ok cancellation", flush=True)


main()
