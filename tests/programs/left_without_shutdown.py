"""A script that ends without shutdown has its jobs done, also when it ends by an error or holds nothing of them."""

import pathlib
import subprocess
import sys

HEAD = """
import pathlib, sys, time
import octapi

def mark(name):
    time.sleep(0.1)
    pathlib.Path(name).touch()

"""
ENDS = {
    "plain": "c = octapi.Cluster()\nfor n in range(5): c.submit(mark, f'{HERE}/{n}')",
    "in a function": "def main():\n    c = octapi.Cluster()\n    for n in range(5): c.submit(mark, f'{HERE}/{n}')\nmain()",
    "an error": "c = octapi.Cluster()\nfor n in range(5): c.submit(mark, f'{HERE}/{n}')\nraise KeyError('the end')",
    "sys.exit": "c = octapi.Cluster()\nfor n in range(5): c.submit(mark, f'{HERE}/{n}')\nsys.exit(4)",
    "by map": "c = octapi.Cluster()\nfound = c.map(mark, [f'{HERE}/{n}' for n in range(5)])",
}
CODES = {"an error": 1, "sys.exit": 4}
for label, end in ENDS.items():
    place = pathlib.Path(label.replace(" ", "_")).absolute()
    place.mkdir()
    script = place.with_suffix(".py")
    script.write_text(HEAD + end.replace("{HERE}", str(place)))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100, check=False)
    made = sorted(path.name for path in place.iterdir())
    assert made == list("01234"), (label, made, done.stderr)
    assert done.returncode == CODES.get(label, 0), (label, done.returncode, done.stderr)
    assert done.stderr.count("Traceback") == (label == "an error"), (label, done.stderr)
print("holds")
