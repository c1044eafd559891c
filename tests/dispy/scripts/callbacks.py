"""Which events come, in which order, with what."""

import dispy

events = []


def compute(n):
    import time

    time.sleep(0.5)
    dispy_provisional_result(("half", n))
    time.sleep(0.5)
    return n


def job_status(job):
    events.append(("job", job.status, job.id, job.result))


def cluster_status(status, node, job):
    if status != dispy.DispyNode.AvailInfo:
        events.append(("cluster", status, node is not None, job.id if job else None))


if __name__ == "__main__":
    cluster = dispy.JobCluster(compute, job_status=job_status, cluster_status=cluster_status, loglevel=50, **OPTIONS)
    job = cluster.submit_job_id("mine", 7)
    print(job(), job.status)
    cluster.shutdown()
    for event in events:
        print(event)
