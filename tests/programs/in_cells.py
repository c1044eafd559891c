"""Cells that define functions, classes and globals again run with the newest, as in IPython and at the prompt."""

import importlib.util
import os
import re
import subprocess
import sys

CELLS = """\
import octapi
cluster = octapi.Cluster(progress=False)
def f(x): return x + 1

print("got", cluster.submit(f, 1).result(60))
def f(x): return x + 100

print("got", cluster.submit(f, 1).result(60))
class K: v = 1

print("got", cluster.submit(lambda: K().v).result(60))
class K: v = 2

print("got", cluster.submit(lambda: K().v).result(60), isinstance(cluster.submit(lambda: K()).result(60), K))
rate = 3
def g(x): return x * rate

print("got", list(cluster.map(g, [1])))
rate = 4
print("got", list(cluster.map(g, [1])))
import functools
def h(x): return g(x) + 1

print("got", cluster.submit(functools.partial(h, 2)).result(60))
def g(x): return 0

print("got", cluster.submit(functools.partial(h, 2)).result(60))
cluster.shutdown()
"""
WANTED = ["2", "101", "1", "2 True", "[3]", "[4]", "9", "1"]
ways = {"the prompt": ["-i", "-q"]}
if importlib.util.find_spec("IPython"):
    ways["IPython"] = ["-m", "IPython", "--no-banner", "--simple-prompt", "--colors=NoColor"]
for label, arguments in ways.items():
    done = subprocess.run(
        [sys.executable, *arguments], input=CELLS, capture_output=True, text=True, timeout=110, check=False,
        env=os.environ | {"IPYTHONDIR": "ipython", "PYTHON_BASIC_REPL": "1"},
    )  # fmt: skip
    got = [line.strip() for line in re.findall(r"got (.*)", done.stdout)]
    assert got == WANTED, (label, got, done.stdout[-1000:], done.stderr[-3000:])
print("holds")
