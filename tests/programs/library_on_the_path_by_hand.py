"""A Python without OctaPi that finds it through sys.path has jobs too, also alone and with a safe path."""

import os
import pathlib
import subprocess
import sys

import octapi

python = pathlib.Path("empty/bin/python")
subprocess.run([sys.executable, "-m", "venv", "--without-pip", "empty"], check=True, timeout=100)
library = os.path.dirname(os.path.dirname(octapi.__file__))
places = [library, *(place for place in sys.path if place.endswith("-packages"))]
SCRIPT = f"""
import sys
sys.path[:0] = {places!r}
import octapi
def double(n): return 2 * n
if __name__ == "__main__":
    with octapi.Cluster() as cluster:
        print(cluster.submit(double, 5).result(60), list(cluster.map(double, range(3))))
"""
pathlib.Path("script.py").write_text(SCRIPT)
for options in ([], ["-I"], ["-P"], ["-E", "-s"], ["-B", "-u"]):
    done = subprocess.run(
        [python.absolute(), *options, "script.py"], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout.strip() == "10 [0, 2, 4]", (options, done.stdout, done.stderr)
print("holds")
