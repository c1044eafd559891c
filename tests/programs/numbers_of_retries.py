"""Jobs that crash end whatever their retries are, nonsense is refused at once, and later jobs run."""

import octapi


def crash():
    import os

    os._exit(3)


def fail():
    raise KeyError("as it should")


def exits():
    raise SystemExit("bye")


def killed():
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


with octapi.Cluster() as cluster:
    for retries in ("3", None, 1.5, -1, [], 10**30):
        try:
            job = cluster.options(retries=retries).submit(crash)
        except (octapi.OctapiError, TypeError, ValueError) as error:
            assert "retries" in str(error), error
        else:
            assert retries == 10**30, f"retries={retries!r} was taken"
            assert isinstance(job.exception(60), octapi.JobCrashed), job.exception()
        assert cluster.submit(abs, -1).result(60) == 1
    kinds = {crash: octapi.JobCrashed, killed: octapi.JobCrashed, fail: KeyError, exits: octapi.JobError}
    for retries in (0, 1, 5):
        for fn, kind in kinds.items():
            error = cluster.options(retries=retries).submit(fn).exception(60)
            assert isinstance(error, kind), (retries, fn, error)
    jobs = [cluster.submit(fn) for fn in (crash, abs) for _ in range(3)]
    errors = [type(job.exception(60)) for job in jobs]
    assert errors == [octapi.JobCrashed] * 3 + [TypeError] * 3, errors
    assert list(cluster.map(abs, range(5))) == list(range(5))
print("holds")
