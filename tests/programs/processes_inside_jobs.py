"""Pools, executors, processes, threads and forks work inside a job, with functions of the script."""

import octapi


def cube(x):
    return x**3


def pool(n):
    import multiprocessing

    with multiprocessing.Pool(2) as workers:
        return sum(workers.map(cube, range(n)))


def executor(n):
    import concurrent.futures

    with concurrent.futures.ProcessPoolExecutor(2) as workers:
        return sum(workers.map(cube, range(n)))


def thread_executor(n):
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(2) as workers:
        return sum(workers.map(cube, range(n)))


def process(n):
    import multiprocessing

    queue = multiprocessing.Queue()
    child = multiprocessing.Process(target=lambda: (print("the child says"), queue.put(sum(map(cube, range(n))))))
    child.start()
    found = queue.get(timeout=60)
    child.join()
    return found


def forked(n):
    import os

    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, str(sum(map(cube, range(n)))).encode())
        os._exit(0)
    os.wait()
    return int(os.read(read, 20))


def shared(n):
    import multiprocessing

    total, lock = multiprocessing.Value("i", 0), multiprocessing.Lock()

    def add(x):
        with lock:
            total.value += cube(x)

    children = [multiprocessing.Process(target=add, args=(x,)) for x in range(n)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return total.value


with octapi.Cluster() as cluster:
    for fn in (pool, executor, thread_executor, process, forked, shared):
        job = cluster.options(timeout_s=100).submit(fn, 4)
        assert job.result(110) == 36, (fn, job.result())
        assert ("the child says" in job.stdout) == (fn is process), (fn, job.stdout)
    assert list(cluster.map(pool, [3, 4])) == [9, 36]
print("holds")
