"""A script as users of dispy write them, with a setup, a callback and provisional results."""

import sys
import threading

import dispy


def setup():
    global squares
    squares = {n: n * n for n in range(1000)}
    return 0


def compute(n):
    dispy_provisional_result(("begun", n))
    return squares[n]


def job_callback(job):
    with lock:
        if job.status == dispy.DispyJob.ProvisionalResult:
            begun.append(job.result[1])
        elif job.status == dispy.DispyJob.Finished:
            done[job.id] = job.result
        else:
            print("job %s failed: %s" % (job.id, job.exception))


if __name__ == "__main__":
    lock = threading.Lock()
    begun, done = [], {}
    cluster = dispy.JobCluster(compute, setup=setup, callback=job_callback)
    for n in range(200):
        job = cluster.submit(n)
        job.id = n
    cluster.wait()
    cluster.print_status()
    cluster.close()
    if done != {n: n * n for n in range(200)} or sorted(begun) != list(range(200)):
        sys.exit("wrong: %d done, %d begun" % (len(done), len(begun)))
    print("all squares are right")
