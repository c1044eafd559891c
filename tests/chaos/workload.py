"""The reference workload: jobs whose right outcomes are known, each outcome written down as it is delivered.

``python workload.py PLACE JOBS SECONDS`` submits jobs 0, 1, ... until ``JOBS`` are submitted and ``SECONDS`` have
passed, and writes one line for each outcome into ``PLACE/outcomes``.
"""

import hashlib
import json
import sys
import threading
import time
from pathlib import Path

import octapi
from octapi.errors import JobCrashed, WorkerLost

#: jobs repeat after so many, so that every outcome can be compared with that of a run without faults
CYCLE = 500
AHEAD = 24


def work(n, cycle, place):
    """Be job ``n``: quick or slow, well or not, as its number says."""
    import hashlib
    import os
    import random
    import signal
    import time

    number = n % cycle
    with open(f"{place}/ran.{number % 10}", "a") as file:  # noqa: PTH123 (this function imports for itself)
        file.write(f"{n}\n")
    time.sleep(random.Random(number).choice([0.005] * 12 + [0.05] * 6 + [0.4, 1.5]))
    if number % 50 == 7:
        dispy_provisional_result(number)  # noqa: F821 (the slot gives it to every job)
    if number % 17 == 0:
        raise ValueError(number)
    if number == 101:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 251:
        held = [b"x" * (20 << 20) for _ in range(30)]
        time.sleep(30)
        return len(held)
    data = str(number).encode() * (1 + (number % 5) * 2000)
    return data, hashlib.sha256(data).hexdigest()


def outcome_of(job):
    """Put a job's outcome in plain words."""
    error = job.exception()
    if error is None:
        data, digest = job.result()
        is_whole = hashlib.sha256(data).hexdigest() == digest
        return f"result {digest[:12]}" if is_whole else "damaged"
    if isinstance(error, ValueError):
        return f"error {error}"
    if isinstance(error, JobCrashed):
        return "out of memory" if error.is_out_of_memory else "crashed"
    return "lost" if isinstance(error, WorkerLost) else f"unexpected {error!r:.300}"


def main():
    """Submit, and write down."""
    place, jobs, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    room = threading.Semaphore(AHEAD)
    lock = threading.Lock()
    began = time.monotonic()
    outcomes = (place / "outcomes").open("a", buffering=1)

    def done(n, job):
        with lock:
            outcomes.write(json.dumps([n, outcome_of(job), time.monotonic() - began, job.attempts]) + "\n")
        room.release()

    with octapi.Cluster() as cluster:
        again, once = cluster.options(retries=1000), cluster.options(retries=0)
        n = 0
        while n < jobs or time.monotonic() - began < seconds:
            room.acquire()
            job = (once if n % 10 == 3 else again).submit(work, n, CYCLE, str(place))
            job.add_done_callback(lambda job, n=n: done(n, job))
            n += 1
        for _ in range(AHEAD):
            room.acquire()
    outcomes.close()
    (place / "ended").write_text(str(n))


if __name__ == "__main__":
    main()
