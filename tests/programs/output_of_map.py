"""What mapped jobs print, log and warn reaches the one who ran the script."""

import pathlib
import subprocess
import sys

SCRIPT = """
import logging, os, sys, warnings
import octapi

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("mine")

def work(n):
    print("printed", n)
    print("complained", n, file=sys.stderr)
    log.info("logged %s", n)
    warnings.warn(f"warned {n}")
    os.system(f"echo by a child {n}")
    return n

with octapi.Cluster() as cluster:
    print("results", list(cluster.map(work, range(4))))
    print("results", sorted(cluster.map(work, range(4, 6), ordered=False)))
    job = cluster.submit(work, 9)
    assert job.result(60) == 9
    for words in ("printed", "by a child"):
        assert f"{words} 9" in job.stdout, job.stdout
    for words in ("complained", "logged", "warned"):
        assert f"{words} 9" in job.stderr, job.stderr
"""
path = pathlib.Path("talks.py")
path.write_text(SCRIPT)
done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=100, check=False)
assert done.returncode == 0, done.stderr
assert done.stdout.splitlines()[0].startswith("results") or "printed" in done.stdout, done.stdout
results = [line for line in done.stdout.splitlines() if line.startswith("results")]
assert results == ["results [0, 1, 2, 3]", "results [4, 5]"], done.stdout
told = done.stdout + done.stderr
lost = [f"{w} {n}" for w in "printed complained logged warned".split() for n in range(6) if f"{w} {n}" not in told]
assert not lost, (lost, told)
assert all(f"by a child {n}" in told for n in range(6)), told
print("holds")
