"""Results, output, exceptions, keyword arguments, ids."""

import dispy


def compute(n, times=1):
    print("n is", n)
    if n == 3:
        raise ValueError("three")
    return n * times, __name__, os.path.basename(os.getcwd()) == os.path.basename(dispy_job_path)


if __name__ == "__main__":
    cluster = dispy.JobCluster(compute, loglevel=50, **OPTIONS)
    jobs = [cluster.submit(n, times=10) for n in range(5)]
    for number, job in enumerate(jobs):
        job.id = f"job {number}"
    for job in jobs:
        result = job()
        last = (job.exception or "").strip().splitlines()[-1:]
        print(job.id, result, repr(job.stdout), repr(job.stderr), last, job.status, job.finish.is_set())
        print(job.start_time <= job.end_time, job.submit_time <= job.end_time, job.ip_addr is not None)
    print(cluster.name, cluster.status().jobs_pending, len(cluster.status().nodes), cluster.wait(), cluster.wait(1))
    print(cluster.cancel(jobs[0]), cluster.close(), cluster.close())
    try:
        cluster.submit(1)
    except AttributeError:
        print("closed")
