"""Random numbers differ between jobs, slots, workers and runs, also after a dispy setup that has drawn some."""

import dispy

import octapi


def draw(n):
    import os
    import random
    import secrets
    import uuid

    found = [
        random.random(),
        secrets.token_hex(8),
        uuid.uuid4().hex,
        uuid.uuid1().hex,
        os.urandom(8),
        random.SystemRandom().random(),
    ]
    try:
        import numpy
    except ImportError:
        return found
    return [*found, float(numpy.random.rand()), float(numpy.random.default_rng().random())]


def own(n):
    import random

    return random.Random().random()


def repeated(n):
    import random

    random.seed(n)
    return random.random()


def setup():
    global random
    import random

    random.random()
    return 0


def compute(n):
    import tempfile

    return random.random(), tempfile.mktemp()


if __name__ == "__main__":
    with octapi.Cluster() as cluster:
        rows = [job.result(60) for job in [cluster.submit(draw, n) for n in range(8)]]
        rows += [cluster.submit(draw, n).result(60) for n in range(2)] + list(cluster.map(draw, range(16)))
        for column in zip(*rows, strict=True):
            assert len(set(column)) == len(rows), sorted(column)
        assert len(set(cluster.map(own, range(60)))) == 60
        again = [list(cluster.map(repeated, range(8))) for _ in range(2)]
        assert again[0] == again[1], again
    with octapi.Cluster() as cluster:
        later = [cluster.submit(draw, n).result(60) for n in range(2)]
        assert not {row[0] for row in later} & {row[0] for row in rows}
    cluster = dispy.JobCluster(compute, setup=setup)
    found = [job() for job in [cluster.submit(n) for n in range(20)]]
    cluster.close()
    for column in zip(*found, strict=True):
        assert len(set(column)) == 20, sorted(column)
    print("holds")
