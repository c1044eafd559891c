"""Setup's globals, shared memory, return codes, cleanup's arguments, depends of functions and classes."""

import dispy


class Point:
    def __init__(self, x):
        self.x = x

    def twice(self):
        return helper(self.x)


def helper(n):
    return 2 * n


def setup(base):
    import multiprocessing
    import multiprocessing.sharedctypes

    global lock, total, numbers
    lock = multiprocessing.Lock()
    total = multiprocessing.sharedctypes.Value("i", base)
    numbers = [1, 2]
    return 0


def cleanup(base):
    del globals()["numbers"]


def compute(point):
    with lock:
        total.value += 1
        now = total.value
    numbers.append(3)
    return point.twice(), len(numbers), now > 100


if __name__ == "__main__":
    nodes = [dispy.NodeAllocate("127.0.0.1", setup_args=(100,))]
    options = {key: value for key, value in OPTIONS.items() if key != "nodes"}
    cluster = dispy.JobCluster(
        compute, nodes=nodes, depends=[Point, helper], setup=setup, cleanup=cleanup, loglevel=50, **options
    )
    jobs = [cluster.submit(Point(n)) for n in range(4)]
    for job in jobs:
        print(job(), job.status, job.exception)
    cluster.close()
