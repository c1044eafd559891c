"""A time limit that was computed from nothing is refused at the call, and no worker stops watching its jobs."""

import math
import time

import octapi


def quick():
    return 1


with octapi.Cluster() as cluster:
    names = sorted(worker.name for worker in cluster.workers())
    for name in names:
        for limit in (math.nan, float("-inf"), -0.5, "1"):
            try:
                cluster.options(timeout_s=limit, worker=name).submit(quick).result(60)
            except (octapi.OctapiError, TypeError, ValueError) as error:
                assert "timeout_s" in str(error), error
            else:
                raise AssertionError(f"timeout_s={limit!r} was taken")
        for limit in (0.3, 1):
            stopped = cluster.options(timeout_s=limit, worker=name, retries=0).submit(time.sleep, 100)
            assert isinstance(stopped.exception(60), octapi.JobTimeout), stopped.exception()
        try:
            huge = cluster.options(timeout_s=1e300, worker=name).submit(quick)
        except (octapi.OctapiError, ValueError) as error:
            assert "timeout_s" in str(error), error
        else:
            assert huge.result(60) == 1
    jobs = [cluster.options(timeout_s=30).submit(time.sleep, 0.01) for _ in range(20)]
    assert [job.result(60) for job in jobs] == [None] * 20
    states = [(worker.name, worker.state) for worker in cluster.workers()]
    assert sorted(states) == [(name, "ok") for name in names], states
print("holds")
