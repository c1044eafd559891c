"""A module that failed to load in jobs and was corrected is the new one in the next run, on the same workers."""

import os
import pathlib
import subprocess
import sys

SCRIPT = """
import os, pathlib
pathlib.Path("pid").write_text(str(os.getpid()))
import octapi
import formulas

def work(x):
    return formulas.times(x)

with octapi.Cluster() as cluster:
    names = [worker.name for worker in cluster.workers()]
    print({cluster.options(worker=name).submit(work, 3).result(60) for name in names for _ in range(3)})
    print(set(cluster.map(work, [3] * 5)))
"""
BROKEN = f"""
import os, pathlib
if pathlib.Path({str(pathlib.Path("pid").absolute())!r}).read_text() != str(os.getpid()):
    raise RuntimeError("it does not load here yet")
def times(x): return 0
"""
pathlib.Path("script.py").write_text(SCRIPT)
for text, wanted in (
    (BROKEN, ""),
    ("def times(x): return 2 * x\n", "{6}"),
    (BROKEN, ""),
    ("def times(x): return 4 * x\n", "{12}"),
):
    pathlib.Path("formulas.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, timeout=100, check=False,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.stdout.split() == [wanted, wanted] if wanted else not done.stdout, (wanted, done.stdout, done.stderr)
    assert wanted or "it does not load here yet" in done.stderr, done.stderr
print("holds")
