"""Objects of modules and packages beside a dispy script reach its jobs, named in depends=, or the one that is missing is named."""

import os
import pathlib
import subprocess
import sys

FILES = {
    "first.py": "import second\nclass Sum:\n    def __init__(self): self.v = second.VALUE\n    def get(self): return self.v + second.VALUE\n",
    "second.py": "VALUE = 21\n",
    "pack/__init__.py": "from .core import Held\n",
    "pack/core.py": "from .under import deep\nclass Held:\n    def get(self): return deep.NUMBER\n",
    "pack/under/__init__.py": "",
    "pack/under/deep.py": "NUMBER = 42\n",
}
SCRIPT = """
import dispy, first, second, pack, pack.core, pack.under, pack.under.deep
def compute(found):
    return found.get()
def imports(found):
    import first
    return found.get() + first.second.VALUE - 21
if __name__ == "__main__":
    values = []
    for depends in (%s):
        for function in (compute, imports):
            for what in (first.Sum(), pack.Held()):
                if function is imports and str(depends).count("first") == 0:
                    continue
                if function is imports and isinstance(what, pack.Held):
                    continue
                cluster = dispy.JobCluster(function, depends=depends)
                job = cluster.submit(what)
                found = job()
                missing = type(what).__module__.partition(".")[0]
                sent = [str(one) for one in depends if not isinstance(one, type)]
                if missing not in str(sent) and f"No module named {missing!r}" in (job.exception or ""):
                    continue  # as in dispy: it is named
                values.append(found)
                if job.exception:
                    print(depends, job.exception)
                cluster.close()
    print(set(values))
"""
DEPENDS = (
    "[first, second, pack, pack.core, pack.under, pack.under.deep], []",
    "[first.Sum], [pack], ['first.py', 'second.py'], [pack.core.Held]",
)
for name, text in FILES.items():
    pathlib.Path(name).parent.mkdir(exist_ok=True, parents=True)
    pathlib.Path(name).write_text(text)
for depends in DEPENDS:
    pathlib.Path("script.py").write_text(SCRIPT % depends)
    octapi = os.path.join(os.path.dirname(sys.executable), "octapi")
    done = subprocess.run([octapi, "run", "script.py"], capture_output=True, text=True, timeout=110, check=False)
    assert done.stdout.strip() == "{42}", (depends, done.stdout, done.stderr)
print("holds")
