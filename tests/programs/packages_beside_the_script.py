"""Packages beside the script work in jobs: plain ones, those without __init__, their data files, and archives."""

import pathlib
import subprocess
import sys
import zipfile

FILES = {
    "spread/inner/sums.py": "def double(x): return 2 * x\n",
    "spread/more.py": "from spread.inner import sums\ndef quadruple(x): return sums.double(sums.double(x))\n",
    "whole/__init__.py": "import pathlib\nWORDS = pathlib.Path(__file__).with_name('words.txt').read_text()\ndef read(): return WORDS\n",
    "whole/words.txt": "from the file",
    "whole/deep/__init__.py": "from ..parts import part\n",
    "whole/parts.py": "def part(x): return x + 1\n",
    "later/__init__.py": "",
    "later/late.json": "[7]",
    "later/tool.py": "import importlib.resources, json\n"
    "def read(): return json.loads(importlib.resources.files('later').joinpath('late.json').read_text())[0]\n",
    "single.py": "VALUE = 5\nclass Kept:\n    def __init__(self, x): self.x = x\n    def get(self): return self.x + VALUE\n",
}
SCRIPTS = {
    "from spread.inner.sums import double\nCALL = double, 3": "6",
    "import spread.more as more\ndef f(x): return more.quadruple(x)\nCALL = f, 2": "8",
    "import whole\ndef f(): return whole.read()\nCALL = f,": "from the file",
    "import whole\nCALL = whole.read,": "from the file",
    "def f(x):\n    from whole.deep import part\n    return part(x)\nimport whole.deep\nCALL = f, 1": "2",
    "import later.tool\nCALL = later.tool.read,": "7",
    "import single\ndef f(o): return o.get()\nCALL = f, single.Kept(1)": "6",
    "import single\nsingle.VALUE\nCALL = single.Kept(2).get,": "7",
    "import sys\nsys.path.insert(0, 'packed.zip')\nimport packed.tool\nCALL = packed.tool.triple, 3": "9",
    "import sys\nsys.path.append('aside')\nimport put_aside\ndef f(): return put_aside.NAME\nCALL = f,": "aside",
}
END = """
import octapi
with octapi.Cluster() as cluster:
    one, many = cluster.submit(*CALL).result(60), list(cluster.map(lambda _: CALL[0](*CALL[1:]), range(2)))
    assert many == [one, one], many
    print(one)
"""
FILES["aside/put_aside.py"] = "NAME = 'aside'\n"
for name, text in FILES.items():
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
with zipfile.ZipFile("packed.zip", "w") as archive:
    archive.writestr("packed/__init__.py", "")
    archive.writestr("packed/tool.py", "def triple(x): return 3 * x\n")
for number, (text, wanted) in enumerate(SCRIPTS.items()):
    script = pathlib.Path(f"script_{number}.py")
    script.write_text(text + END)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.strip() == wanted, (text, done.stdout, done.stderr)
print("holds")
