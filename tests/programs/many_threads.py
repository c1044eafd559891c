"""Many threads submit, map, cancel and wait on one cluster, each with functions of its own."""

import concurrent.futures
import threading
import time

import octapi


def joined(a, b):
    return a * 1000 + b


def use(cluster, k, start):
    start.wait(60)
    jobs = [cluster.submit(joined, k, n) for n in range(40)]
    found = [job.result(100) for job in jobs]
    assert found == [k * 1000 + n for n in range(40)], found
    mapped = list(cluster.map(joined, [k] * 30, range(30)))
    assert mapped == [k * 1000 + n for n in range(30)], mapped
    own = eval("lambda x: x + k", {"k": k})
    assert cluster.submit(own, 1).result(100) == k + 1
    sleeping = cluster.submit(time.sleep, 1000)
    assert sleeping.cancel()
    assert concurrent.futures.wait([sleeping], 100).done
    assert isinstance(cluster.submit(joined, "x", None).exception(100), TypeError)
    return k


with octapi.Cluster() as cluster, concurrent.futures.ThreadPoolExecutor(10) as threads:
    start = threading.Barrier(10)
    done = [threads.submit(use, cluster, k, start) for k in range(10)]
    assert [job.result(110) for job in done] == list(range(10))
print("holds")
