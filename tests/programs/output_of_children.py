"""What child processes and C code of a job write is its output, and of no other job."""

import octapi


def talk(n):
    import ctypes
    import os
    import subprocess
    import sys

    print("by print", n)
    os.system(f"echo by a shell {n}")
    subprocess.run(["sh", "-c", f"echo by a child {n}; echo complaint {n} >&2"], check=True)
    os.write(1, b"by number %d\n" % n)
    ctypes.CDLL(None).puts(b"by C %d" % n)
    subprocess.run([sys.executable, "-c", f"print('by Python', {n})"], check=True)
    if os.fork() == 0:
        print("by a fork", n, flush=True)
        os._exit(0)
    os.wait()
    return n


WORDS = ("print", "a shell", "a child", "number", "C", "Python", "a fork")
with octapi.Cluster() as cluster:
    jobs = [cluster.submit(talk, n) for n in range(4)]
    for n, job in enumerate(jobs):
        assert job.result(60) == n
        lines = sorted(job.stdout.splitlines())
        assert lines == sorted(f"by {word} {n}" for word in WORDS), (lines, job.stderr)
        assert job.stderr.splitlines() == [f"complaint {n}"], job.stderr
print("holds")
