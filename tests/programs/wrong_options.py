"""A wrong option is an error at the call, and harms no job or worker of anybody."""

import math

import octapi


def work(n=1):
    return n


def slow():
    import time

    time.sleep(2)
    return "done"


WRONG = [
    {"timeout_s": "5"}, {"timeout_s": math.nan}, {"timeout_s": -1}, {"timeout_s": -math.inf}, {"timeout_s": b"1"},
    {"timeout_s": 1j}, {"timeout_s": [1]}, {"retries": "3"}, {"retries": None}, {"retries": 1.5}, {"retries": -1},
    {"retries": math.inf}, {"worker": 5}, {"worker": b"name"}, {"worker": ["name"]}, {"retry": 3}, {"time": 1},
    {"files": 7}, {"files_to": 7}, {"timeout_s": 5, "worker": 1.0},
]  # fmt: skip
RIGHT = [
    {"timeout_s": None},
    {"timeout_s": 30},
    {"timeout_s": 30.5},
    {"retries": 0},
    {"retries": 1000},
    {"worker": None},
]
with octapi.Cluster() as cluster:
    before = sorted(worker.name for worker in cluster.workers())
    witnesses = [cluster.options(retries=0).submit(slow) for _ in range(2)]
    for options in WRONG:
        try:
            cluster.options(**options)
        except (octapi.OctapiError, TypeError, ValueError) as error:
            assert any(name in str(error) for name in options), (options, error)
            assert len(str(error).splitlines()) == 1, error
        else:
            raise AssertionError(f"{options} was taken")
    for options in RIGHT:
        assert cluster.options(**options).submit(work).result(60) == 1, options
        assert list(cluster.options(**options).map(work, [1, 2])) == [1, 2], options
    named = cluster.options(worker=before[0])
    job = named.submit(work)
    assert (job.result(60), job.worker) == (1, before[0]), job
    try:
        cluster.options(worker="nobody", wait_for_worker=False).submit(work).result(60)
    except octapi.OctapiError as error:
        assert not isinstance(error, TimeoutError), error
        assert "nobody" in str(error), error
    else:
        raise AssertionError("a worker that is not there ran a job")
    assert [job.result(60) for job in witnesses] == ["done"] * 2
    after = sorted(worker.name for worker in cluster.workers() if worker.state == "ok")
    assert before == after, (before, after)
print("holds")
