"""A script whose sys.stderr or sys.stdout is None, closed, or only writes, has its jobs."""

import io
import sys

import octapi


class Writes:
    def write(self, text):
        return len(text)


def work(n):
    print("printed", n)
    print("complained", n, file=sys.stderr)
    return n


closed = io.StringIO()
closed.close()
out, err = sys.stdout, sys.stderr
for stream in (None, closed, Writes(), io.StringIO()):
    sys.stderr = sys.stdout = stream
    try:
        with octapi.Cluster() as cluster:
            job = cluster.submit(work, 1)
            seen = job.result(60), job.stdout, job.stderr, list(cluster.map(work, [2, 3]))
        with octapi.Cluster(progress=True) as cluster:
            more = list(cluster.map(work, [4]))
    finally:
        sys.stdout, sys.stderr = out, err
    assert seen == (1, "printed 1\n", "complained 1\n", [2, 3]), seen
    assert more == [4], more
print("holds")
