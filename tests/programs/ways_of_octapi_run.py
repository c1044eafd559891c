"""octapi run takes a script, a module, a directory and its input, in all encodings, also of dispy scripts."""

import os
import pathlib
import subprocess
import sys

BODY = """
import octapi, sys
def f(x): return x + 1
if __name__ == "__main__":
    with octapi.Cluster() as cluster:
        print(list(cluster.map(f, [1, 2])), cluster.submit(f, 5).result(60), *sys.argv[1:])
"""
DISPY = """
import dispy
def compute(n):
    return 'é', n + 1
if __name__ == '__main__':
    cluster = dispy.JobCluster(compute)
    jobs = [cluster.submit(n) for n in (1, 2)]
    print([job()[1] for job in jobs], len(jobs[0].result[0]) + 5)
    cluster.close()
"""
run = [os.path.join(os.path.dirname(sys.executable), "octapi"), "run"]
here = pathlib.Path("here").absolute()
(here / "package").mkdir(parents=True)
(here / "package/__init__.py").touch()
(here / "package/helpers.py").write_text("def increased(x): return x + 1\n")
(here / "package/start.py").write_text("from .helpers import increased\n" + BODY.replace("x + 1", "increased(x)"))
(here / "package/__main__.py").write_text(BODY)
(here / "plain.py").write_text(BODY)
(here / "latin.py").write_bytes(("# coding: latin-1\nname = 'é'\n" + BODY).encode("latin-1"))
(here / "dispy_latin.py").write_bytes(("# coding: latin-1\n" + DISPY).encode("latin-1"))
(here / "dispy_mark.py").write_bytes(b"\xef\xbb\xbf" + DISPY.replace("\n", "\r\n").encode())
WAYS = {
    "a script": (["plain.py"], here, None, ""), "a full path": ([here / "plain.py"], "/", None, ""),
    "latin-1": (["latin.py"], here, None, ""), "arguments": (["plain.py", "one", "--two"], here, None, " one --two"),
    "a module": (["-m", "package.start"], here, None, ""), "a directory": (["package"], here, None, ""),
    "its input": (["-"], here, BODY, ""), "dispy, latin-1": (["dispy_latin.py"], here, None, ""),
    "dispy, a mark and CRLF": (["dispy_mark.py"], here, None, ""),
}  # fmt: skip
for label, (arguments, place, given, more) in WAYS.items():
    done = subprocess.run(
        [*run, *arguments], cwd=place, input=given, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout.strip() == "[2, 3] 6" + more, (label, done.stdout, done.stderr)
print("holds")
