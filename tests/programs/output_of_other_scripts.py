"""What a job of one script leaves running never prints into a job of another script, or into a later job."""

import pathlib
import subprocess
import sys

LEAVES = """
import octapi
def leave(n):
    import atexit, os, threading, time
    def later():
        while True:
            time.sleep(0.02)
            print("the secret of the first")
    threading.Thread(target=later, daemon=True).start()
    atexit.register(print, "the secret of the first at exit")
    if os.fork() == 0:
        os.setsid()
        later()
    time.sleep(0.1)
    return n
with octapi.Cluster() as cluster:
    jobs = [cluster.submit(leave, n) for n in range(4)] + [cluster.options(retries=0).submit(print, "plain", n) for n in range(4)]
    assert [job.result(60) for job in jobs] == [*range(4), *[None] * 4]
    print([job.stdout for job in jobs[4:]])
    print(list(cluster.map(leave, range(2))))
"""
OWN = """
import octapi
def work(n):
    import time
    time.sleep(0.2)
    print("mine", n)
    return n
with octapi.Cluster() as cluster:
    jobs = [cluster.submit(work, n) for n in range(6)]
    print([(job.result(60), job.stdout + job.stderr) for job in jobs])
"""
pathlib.Path("leaves.py").write_text(LEAVES)
pathlib.Path("own.py").write_text(OWN)
first = subprocess.run([sys.executable, "leaves.py"], capture_output=True, text=True, timeout=100, check=False)
assert first.returncode == 0, first.stderr
assert first.stdout.splitlines()[0] == str([f"plain {n}\n" for n in range(4)]), first.stdout
second = subprocess.run([sys.executable, "own.py"], capture_output=True, text=True, timeout=100, check=False)
assert second.stdout.strip() == str([(n, f"mine {n}\n") for n in range(6)]), (second.stdout, second.stderr)
print("holds")
