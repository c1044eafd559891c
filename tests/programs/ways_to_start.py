"""A script runs the same however Python is told to run it."""

import os
import pathlib
import subprocess
import sys
import zipfile

BODY = """
import octapi
def f(x): return x + 1
if __name__ == "__main__":
    with octapi.Cluster() as cluster:
        print(list(cluster.map(f, [1, 2])), cluster.submit(f, 5).result(60))
"""
RELATIVE = """
from .helpers import increased
import octapi
def f(x): return increased(x)
def g(x):
    from . import helpers
    return helpers.increased(x)
def main():
    with octapi.Cluster() as cluster:
        print(list(cluster.map(f, [1, 2])), cluster.submit(g, 5).result(60))
if __name__ == "__main__": main()
"""
here = pathlib.Path("here").absolute()
(here / "package").mkdir(parents=True)
elsewhere = pathlib.Path("elsewhere").absolute()
elsewhere.mkdir()
(here / "package/__init__.py").touch()
(here / "package/helpers.py").write_text("def increased(x): return x + 1\n")
(here / "package/start.py").write_text(RELATIVE)
(here / "package/__main__.py").write_text("from .start import main\nmain()\n")
(here / "helpers.py").write_text("def increased(x): return x + 1\n")
(here / "plain.py").write_text(BODY)
(here / "mark.py").write_bytes(b"\xef\xbb\xbf" + BODY.replace("\n", "\r\n").encode())
latin = "# -*- coding: latin-1 -*-\nimport helpers\nname = 'é'\n" + BODY.replace("x + 1", "helpers.increased(x)")
(here / "latin.py").write_bytes(latin.encode("latin-1"))
(here / "näme with spaces.py").write_text(BODY)
(elsewhere / "link.py").symlink_to(here / "plain.py")
with zipfile.ZipFile(here / "packed.pyz", "w") as archive:
    archive.writestr("__main__.py", "from tool import main\nmain()\n")
    archive.writestr(
        "tool.py", RELATIVE.replace("from .helpers", "from inner").replace("from . import", "import inner as")
    )
    archive.writestr("inner.py", "def increased(x): return x + 1\n")
WAYS = {
    "-c": (["-c", BODY], here, None), "its input": (["-"], here, BODY), "-m": (["-m", "package.start"], here, None),
    "-m of a package": (["-m", "package"], here, None), "a full path": ([here / "plain.py"], elsewhere, None),
    "a link": ([elsewhere / "link.py"], "/", None), "a mark and CRLF": (["mark.py"], here, None),
    "latin-1": (["latin.py"], here, None), "an odd name": (["näme with spaces.py"], here, None),
    "an archive": (["packed.pyz"], here, None), "-O": (["-O", "plain.py"], here, None),
    "alone": (["-I", here / "plain.py"], here, None), "a safe path": (["-P", "plain.py"], here, None),
}  # fmt: skip
for label, (arguments, place, given) in WAYS.items():
    done = subprocess.run(
        [sys.executable, *arguments], cwd=place, input=given, capture_output=True, text=True, timeout=100, check=False,
        env=os.environ | {"PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.stdout.strip() == "[2, 3] 6", (label, done.stdout, done.stderr)
print("holds")
