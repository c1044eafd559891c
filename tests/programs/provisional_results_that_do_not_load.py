"""A provisional result that the script cannot load, or a callback that fails on one, ends no job otherwise."""

import dispy


def compute(n):
    class Progress(Exception):
        def __init__(self, done, of):
            super().__init__(f"{done} of {of}")

    class Sly:
        def __reduce__(self):
            return eval, ("__import__('a_module_that_is_nowhere')",)

    if n == 0:
        dispy_provisional_result(Progress(1, 2))
    if n == 1:
        dispy_provisional_result(Sly())
    dispy_provisional_result(n * 10)
    return n


def status(job):
    if job.status == dispy.DispyJob.ProvisionalResult:
        seen.append(job.result)
        raise ZeroDivisionError("the callback fails")
    if job.id == 3:
        raise SystemExit("the callback exits")


if __name__ == "__main__":
    seen = []
    cluster = dispy.JobCluster(compute, job_status=status)
    jobs = []
    for n in range(6):
        job = cluster.submit(n)
        job.id = n
        jobs.append(job)
    for n, job in enumerate(jobs):
        assert job.finish.wait(60), (n, job.status)
        assert (job.status, job.result) == (dispy.DispyJob.Finished, n), (n, job.status, job.result, job.exception)
    later = cluster.submit(7)
    assert later() == 7, later.exception
    cluster.wait()
    numbers = {found for found in seen if isinstance(found, int)}
    assert numbers >= {20, 30, 40, 50, 70}, seen
    cluster.close()
    print("holds")
