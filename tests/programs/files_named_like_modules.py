"""A file of the current directory that is named like a module of Python or of OctaPi's stops no slot."""

import pathlib
import subprocess
import sys

SCRIPT = """
import octapi
def double(n):
    return 2 * n
def draws(n):
    import json, random
    return json.dumps(random.randint(n, n))
if __name__ == "__main__":
    with octapi.Cluster() as cluster:
        print(cluster.submit(double, 5).result(60), list(cluster.map(draws, [3])))
"""
home, place = pathlib.Path("home").absolute(), pathlib.Path("place").absolute()
home.mkdir()
place.mkdir()
(home / "script.py").write_text(SCRIPT)
for names in (
    ["random", "queue", "select"],
    ["calendar", "numpy", "msgpack"],
    ["socket", "json", "cloudpickle", "octapi"],
):
    for name in names:
        (place / f"{name}.py").write_text("raise SystemExit('this file is no library')\n")
    done = subprocess.run(
        [sys.executable, home / "script.py"], cwd=place, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout.strip() == "10 ['3']", (names, done.stdout, done.stderr)
# beside the script it is the script's own module, for which Python itself stands in the way of some; not of these
for name in ("statistics", "wave", "fractions"):
    (home / f"{name}.py").write_text("MINE = True\n")
(home / "script.py").write_text(SCRIPT + "import statistics\nassert statistics.MINE\n")
done = subprocess.run([sys.executable, "script.py"], cwd=home, capture_output=True, text=True, timeout=100, check=False)
assert done.stdout.strip() == "10 ['3']", (done.stdout, done.stderr)
print("holds")
