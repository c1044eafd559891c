"""Which code is seen to be harmless, so that jobs of it may share a process, and which is not."""

import textwrap
import types
from typing import Any

import pytest

from octapi.pool import harmless


def made(text: str) -> types.FunctionType | type:
    """Return what a script calls ``f``, as a slot has it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(textwrap.dedent(text), names)
    found: types.FunctionType | type = names["f"]
    return found


HARMLESS = [
    "def f(x): return x",
    "def f(n): return sum(i * i for i in range(n))",
    "import math\ndef f(x): return math.sqrt(x)",
    "def f(x):\n    import time, socket\n    time.sleep(x)\n    return socket.gethostname()",
    "def helper(x): return [x]\ndef f(x): return helper(x) + [1]",
    "def f(n): return 1 if n == 0 else n * f(n - 1)",
    "def f():\n    import random\n    return random.random()",
    "def f(x): print(x)",
    "def f(x): return (lambda y: y + 1)(x)",
    "class C:\n    def __init__(self, x): self._x = x\n    def get(self): return self._x\ndef f(x): return C(x).get()",
    "class A:\n    def __init__(self): self.x = 1\nclass B(A):\n    def __init__(self): super().__init__()\nf = B",
    "import dataclasses\n@dataclasses.dataclass\nclass D:\n    x: int = 1\ndef f(x): return D(x)",
    "import enum\nclass E(enum.Enum):\n    A = 1\ndef f(): return E.A",
    "from collections import namedtuple\nN = namedtuple('N', 'a b')\ndef f(x): return N(x, 2)",
    "import abc\nclass I(abc.ABC):\n    @abc.abstractmethod\n    def go(self): ...\ndef f(x): return issubclass(x, I)",
]

NOT_HARMLESS = [
    "import os\ndef f(): os.chdir('/')",
    "def f():\n    import json\n    json.mark = 1",
    "import random\ndef f(): random.seed(1)",
    "def f(): return open('/etc/hostname')",
    "def f(x): f.calls = 1",
    "def f(x): eval(x)",
    "def f(x): return x.__class__.__subclasses__()",
    "def f(x): return globals()",
    "async def f(x): return x",
    "class C:\n    n = 0\ndef f():\n    C.n += 1",
    "class C:\n    n = 0\n    def up(self): type(self).n += 1\ndef f(): C().up()",
    "class C:\n    @classmethod\n    def up(cls): cls.n = 1\ndef f(): C.up()",
    "class M(type): pass\nclass C(metaclass=M): pass\ndef f(): return C()",
    "class C:\n    def set(self, other): other.x = 1\ndef f(): C().set(C())",
    "class C: pass\nthere = C()\ndef f(): return there",
    "import sys\ndef f(): return sys.path",
    "def f(): return (yield_ for yield_ in ()).gi_frame",
    "def f():\n    class Local: pass\n    return Local",
    "from os import getcwd\ndef f(): return getcwd()",
    "def helper(): import subprocess\ndef f(): helper()",
    "f = [].append",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_code_that_changes_only_what_is_its_own_is_harmless(text: str) -> None:
    """Nothing that it reaches could be changed by a job."""
    found = harmless.look(made(text))

    assert found.is_harmless
    assert found.is_plain


@pytest.mark.parametrize("text", NOT_HARMLESS)
def test_code_that_could_change_more_is_not_harmless(text: str) -> None:
    """Jobs of it have a process of their own."""
    assert not harmless.look(made(text)).is_harmless


@pytest.mark.parametrize(
    "text",
    [
        "T = [1]\ndef f(x): return T[0]",
        "def f(x, seen=[]): return seen",
        "def f(x):\n    global T\n    T = x",
        "def maker():\n    n = 0\n    def f():\n        nonlocal n\n        n += 1\n    return f\nf = maker()",
        "class C:\n    table = {}\ndef f(x): return C.table",
        "OPS = (len, lambda x: x)\ndef f(x): return OPS[1](x)",
    ],
)
def test_harmless_code_with_something_to_change_is_made_anew_for_each_job(text: str) -> None:
    """It may share a process, but not the objects."""
    found = harmless.look(made(text))

    assert found.is_harmless
    assert not found.is_plain


def test_imported_code_with_something_to_change_is_not_harmless() -> None:
    """A module is imported once, so loading the function again would not make its list new."""
    assert harmless.look(uses_the_list).is_harmless is False
    assert harmless.look(uses_nothing).is_harmless


LIST = [1]


def uses_the_list() -> int:
    return LIST[0]


def uses_nothing(x: int) -> int:
    return x
