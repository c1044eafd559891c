"""One contender, in a process of its own: ``python contenders.py CONTENDER MEASURE COUNT`` prints seconds.

What is measured is timed here, after a short warm-up; starting the contender is not, except where
the measure is about that.
"""

import contextlib
import inspect
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from work import is_prime, length, nothing, spin, zeros

SLOTS = 2
#: iterations of spin() that take about half a second
HALF_SECOND = 8_000_000


class Contender:
    """Submits calls one by one, and maps; ``submit`` returns what ``get`` turns into a result."""

    #: real dispy's node loses some of many quick jobs
    loses_jobs = False

    def submit(self, function, arg):
        raise NotImplementedError

    def get(self, job):
        return job.result()

    def given(self, value):
        """Return a large argument as a user of this library would give it."""
        return value

    def map(self, function, items):
        raise NotImplementedError


class Octapi(Contender):
    address = "local"

    def __init__(self, stack):
        import octapi

        self.cluster = stack.enter_context(octapi.Cluster(self.place(stack), slots=SLOTS, progress=False))
        self.submit = self.cluster.submit

    def place(self, stack):
        return "local"

    def map(self, function, items):
        return list(self.cluster.map(function, items))


def embedded(stack):
    try:
        from octapi.testing import EmbeddedCluster
    except ImportError:  # an earlier state, run beside as "before"
        from octapi.embedded import EmbeddedCluster

    return stack.enter_context(EmbeddedCluster(workers=2, slots=1)).address


class OctapiCluster(Octapi):
    def place(self, stack):
        return embedded(stack)


class OctapiAt(Octapi):
    """At a cluster that is there already."""

    def place(self, stack):
        return os.environ["OCTAPI_BENCH_ADDRESS"]


class OctapiDispy(Contender):
    def __init__(self, stack):
        os.environ["OCTAPI_ADDRESS"] = self.place(stack)
        os.environ["OCTAPI_SLOTS"] = str(SLOTS)
        import octapi.dispy as dispy

        self.clusters = {function: dispy.JobCluster(function) for function in (nothing, is_prime, spin)}
        self.submits = {function: cluster.submit for function, cluster in self.clusters.items()}

    def place(self, stack):
        return "local"

    def submit(self, function, arg):
        return self.submits[function](arg)

    def get(self, job):
        return job()


class OctapiDispyCluster(OctapiDispy):
    def place(self, stack):
        return embedded(stack)


class OctapiDispyAt(OctapiDispy):
    def place(self, stack):
        return os.environ["OCTAPI_BENCH_ADDRESS"]


class Dispy(Contender):
    """The real one: its node runs beside the script, and its callbacks need a function that Python 3.11 lost."""

    loses_jobs = True

    def __init__(self, stack):
        if not hasattr(inspect, "getargspec"):
            inspect.getargspec = lambda function: inspect.getfullargspec(function)[:4]
        import dispy

        node = os.path.join(os.path.dirname(sys.executable), "dispynode.py")
        command = [sys.executable, node, "-c", str(SLOTS), "-i", "127.0.0.1", "--daemon", "--clean"]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        self.dispy = dispy
        self.stack = stack
        self.cluster = None

    def submit(self, function, arg):
        if self.cluster is None:
            self.cluster = self.dispy.JobCluster(function, nodes=["127.0.0.1"], host="127.0.0.1", loglevel=50)
            self.stack.callback(self.cluster.shutdown)
        return self.cluster.submit(arg)

    def get(self, job):
        return job()


class Dask(Contender):
    def __init__(self, stack):
        from distributed import Client

        client = Client(n_workers=SLOTS, threads_per_worker=1, dashboard_address=None)
        self.client = stack.enter_context(client)

    def submit(self, function, arg):
        return self.client.submit(function, arg, pure=False)

    def given(self, value):
        return self.client.scatter(value)

    def map(self, function, items):
        return self.client.gather(self.client.map(function, items, pure=False))


class Ray(Contender):
    def __init__(self, stack):
        import ray

        ray.init(num_cpus=SLOTS, log_to_driver=False, include_dashboard=False)
        stack.callback(ray.shutdown)
        self.ray = ray
        self.remotes = {function: ray.remote(function) for function in (nothing, is_prime, spin)}

    def submit(self, function, arg):
        return self.remotes[function].remote(arg)

    def get(self, job):
        return self.ray.get(job)


class Ipyparallel(Contender):
    def __init__(self, stack):
        import ipyparallel

        cluster = ipyparallel.Cluster(n=SLOTS, log_level=50)
        client = stack.enter_context(cluster)
        self.view = client.load_balanced_view()

    def submit(self, function, arg):
        return self.view.apply_async(function, arg)

    def get(self, job):
        return job.get()

    def map(self, function, items):
        return list(self.view.map_sync(function, items, chunksize=max(1, len(items) // 20)))


class Parsl(Contender):
    def __init__(self, stack):
        import parsl
        from parsl.config import Config
        from parsl.executors import HighThroughputExecutor
        from parsl.providers import LocalProvider

        executor = HighThroughputExecutor(
            max_workers_per_node=SLOTS, prefetch_capacity=10, address="127.0.0.1", provider=LocalProvider()
        )
        parsl.load(Config(executors=[executor]))
        stack.callback(parsl.clear)
        stack.callback(lambda: parsl.dfk().cleanup())
        self.apps = {function: parsl.python_app(function) for function in (nothing, is_prime, spin)}

    def submit(self, function, arg):
        return self.apps[function](arg)


class Joblib(Contender):
    def __init__(self, stack):
        import joblib

        self.joblib = joblib
        self.parallel = stack.enter_context(joblib.Parallel(n_jobs=SLOTS))

    def submit(self, function, arg):
        return self.parallel([self.joblib.delayed(function)(arg)])[0]

    def get(self, job):
        return job

    def map(self, function, items):
        return self.parallel(self.joblib.delayed(function)(item) for item in items)


class ProcessPool(Contender):
    def __init__(self, stack):
        from concurrent.futures import ProcessPoolExecutor

        self.pool = stack.enter_context(ProcessPoolExecutor(SLOTS))
        self.submit = self.pool.submit

    def map(self, function, items):
        return list(self.pool.map(function, items, chunksize=100))


class Pool(Contender):
    def __init__(self, stack):
        import multiprocessing

        self.pool = stack.enter_context(multiprocessing.get_context("fork").Pool(SLOTS))

    def submit(self, function, arg):
        return self.pool.apply_async(function, (arg,))

    def get(self, job):
        return job.get()

    def map(self, function, items):
        return self.pool.map(function, items)


CONTENDERS = {
    "octapi": Octapi,
    "octapi cluster": OctapiCluster,
    "octapi at": OctapiAt,
    "octapi dispy at": OctapiDispyAt,
    "octapi dispy": OctapiDispy,
    "octapi dispy cluster": OctapiDispyCluster,
    "dispy": Dispy,
    "dask": Dask,
    "ray": Ray,
    "ipyparallel": Ipyparallel,
    "parsl": Parsl,
    "joblib": Joblib,
    "cf": ProcessPool,
    "pool": Pool,
}


def submit_all(contender, function, items):
    jobs = [contender.submit(function, item) for item in items]
    return [contender.get(job) for job in jobs]


def submit(contender, count):
    submit_all(contender, nothing, range(20))
    started = time.perf_counter()
    found = submit_all(contender, nothing, range(count))
    taken = time.perf_counter() - started
    lost = sum(value is None for value in found)
    if lost:
        print(f"{lost} of {count} jobs were lost", file=sys.stderr)
    assert found == list(range(count)) or contender.loses_jobs
    return taken


def mapping(contender, count):
    contender.map(nothing, range(1_000))
    started = time.perf_counter()
    assert contender.map(nothing, range(count))[-1] == count - 1
    return time.perf_counter() - started


def primality(contender, count):
    submit_all(contender, is_prime, range(1_000_000, 1_000_020))
    started = time.perf_counter()
    assert len(submit_all(contender, is_prime, range(1_000_000, 1_000_000 + count))) == count
    return time.perf_counter() - started


def primality_map(contender, count):
    contender.map(is_prime, range(1_000_000, 1_000_020))
    started = time.perf_counter()
    assert len(contender.map(is_prime, range(1_000_000, 1_000_000 + count))) == count
    return time.perf_counter() - started


def efficiency(contender, count):
    """Return the share of two busy cores that did work: what two jobs at once take is the measure of one."""
    submit_all(contender, spin, [1_000] * SLOTS)
    pair = min(timed(submit_all, contender, spin, [HALF_SECOND] * SLOTS) for _ in range(3))
    return (count / SLOTS) * pair / timed(submit_all, contender, spin, [HALF_SECOND] * count)


def timed(function, *args):
    started = time.perf_counter()
    function(*args)
    return time.perf_counter() - started


def round_trip(contender, count):
    submit_all(contender, nothing, range(5))
    return statistics.median(timed(lambda: contender.get(contender.submit(nothing, 1))) for _ in range(count))


def argument(contender, count):
    """Return the seconds that a call with an array of so many bytes takes; it is filled anew, and no two are equal."""
    import numpy

    found = []
    for number in range(4):
        array = numpy.full(count // 8, float(number))
        found.append(timed(lambda given=array: contender.get(contender.submit(length, contender.given(given)))))
    return statistics.median(found[1:])


def result(contender, count):
    """Return the seconds until an array of so many bytes is here that a job has made."""
    found = [timed(lambda: contender.get(contender.submit(zeros, count))) for _ in range(4)]
    return statistics.median(found[1:])


MEASURES = {
    "argument": argument,
    "result": result,
    "submit": submit,
    "map": mapping,
    "primality": primality,
    "primality_map": primality_map,
    "efficiency": efficiency,
    "round_trip": round_trip,
}


def main():
    name, measure, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with contextlib.ExitStack() as stack:
        found = MEASURES[measure](CONTENDERS[name](stack), count)
        print(f"MEASURED {found}", flush=True)


if __name__ == "__main__":
    main()
