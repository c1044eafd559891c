"""A script works, or says in a line why not, without a home, streams, locale, temporary directory or descriptors."""

import os
import pathlib
import subprocess
import sys

SCRIPT = """
import pathlib, sys
import octapi
def work(n):
    print("é\\u2713")
    return f"é{n}"
with octapi.Cluster() as cluster:
    job = cluster.submit(work, 5)
    assert (job.result(60), job.stdout) == ("é5", "é\\u2713\\n"), (job.result(), job.stdout)
    assert list(cluster.map(work, [1])) == ["é1"]
pathlib.Path("done").touch()
"""
pathlib.Path("script.py").write_text(SCRIPT)
python = sys.executable
octapi = os.path.join(os.path.dirname(python), "octapi")
full = dict(os.environ)
bare = {name: full[name] for name in ("PATH", "OCTAPI_ADDRESS", "OCTAPI_SLOTS")}
WAYS = {
    "no home": (bare, f"{python} script.py"),
    "a home that is not there": (bare | {"HOME": "/nowhere", "OCTAPI_HOME": "/nowhere/x"}, f"{python} script.py"),
    "ASCII": (
        full | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        f"{python} script.py && {octapi} --help >/dev/null",
    ),
    "no stdout": (full, f"{python} script.py >&-"),
    "no stderr": (full, f"{python} script.py 2>&-"),
    "no streams": (full, f"{python} script.py <&- >&- 2>&-"),
    "a full stdout": (full, f"{python} script.py >/dev/full"),
    "a relative temporary directory": (full | {"TMPDIR": "tmp"}, f"mkdir -p tmp; {python} script.py"),
    "a temporary directory that is not there": (full | {"TMPDIR": "/nowhere"}, f"{python} script.py"),
    "a reader that goes": (full, f"{python} script.py | head -c 0"),
    "children ignored": (full, f"(trap '' CHLD; {python} script.py)"),
    "few descriptors": (full, f"ulimit -n 64; {python} script.py"),
}
made = pathlib.Path("done")
for label, (env, command) in WAYS.items():
    made.unlink(missing_ok=True)
    done = subprocess.run(
        ["bash", "-c", command], env=env, capture_output=True, text=True, timeout=100, errors="replace", check=False
    )
    assert made.exists(), (label, done.stderr)
    assert "Traceback" not in done.stderr, (label, done.stderr)
print("holds")
