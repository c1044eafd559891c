"""Cancelling queued and running jobs, one of which catches the interrupt."""

import time

import dispy


def compute(n, catch):
    import time

    try:
        time.sleep(n)
    except KeyboardInterrupt:
        if catch:
            return "caught"
        raise
    return n


if __name__ == "__main__":
    cluster = dispy.JobCluster(compute, loglevel=50, **OPTIONS)
    running = [cluster.submit(60, True), cluster.submit(60, True)]
    queued = [cluster.submit(60, True) for _ in range(2)]
    while any(job.status == dispy.DispyJob.Created for job in running):
        time.sleep(0.1)
    time.sleep(1)
    for job in queued:
        print(cluster.cancel(job), job.status, job.finish.is_set(), job.result, job.ip_addr, job.end_time)
        print(cluster.cancel(job))
    for job in running:
        print(cluster.cancel(job))
        print(job(), job.status, job.exception)
    cluster.close()
