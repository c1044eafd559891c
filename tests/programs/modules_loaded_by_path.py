"""Functions and classes of modules that were loaded by their path, or made by hand, run in jobs."""

import importlib.util
import pathlib
import sys
import types

import octapi

pathlib.Path("plugins").mkdir()
pathlib.Path("plugins/sharpen.py").write_text(
    "import math\nAMOUNT = 2\nclass Filter:\n    def __init__(self, k): self.k = k\n    def run(self, x): return x * self.k\n"
    "def run(x): return helper(x) * AMOUNT\ndef helper(x): return math.floor(x) + 1\n"
)


def load(name, path, is_registered=True):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    if is_registered:
        sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


first = load("sharpen_plugin", "plugins/sharpen.py")
second = load("nobody_knows", "plugins/sharpen.py", is_registered=False)
made = types.ModuleType("made_by_hand")
exec("def run(x): return x + 100", made.__dict__)
sys.modules["made_by_hand"] = made


def through(x):
    return first.run(x) + made.run(x)


with octapi.Cluster() as cluster:
    assert cluster.submit(first.run, 1.5).result(60) == 4
    assert list(cluster.map(first.run, [1, 2])) == [4, 6]
    assert cluster.submit(second.run, 1).result(60) == 4
    assert cluster.submit(made.run, 1).result(60) == 101
    assert cluster.submit(through, 1).result(60) == 105
    assert cluster.submit(first.Filter(5).run, 2).result(60) == 10
    given = cluster.submit(first.Filter, 6).result(60)
    assert given.run(2) == 12
    assert type(given) is first.Filter, type(given)
print("holds")
