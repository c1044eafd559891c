"""What a job gets is what the caller's objects are at the call."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.now import call, notebook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import octapi


def test_a_bound_method_sees_its_object_as_it_is(cluster: octapi.Cluster) -> None:
    """Also the second time, and after the object has changed."""

    class Model:
        weight = 1

        def predict(self, x: int) -> int:
            return x * self.weight

    model = Model()
    assert call(cluster, model.predict, 3) == 3
    model.weight = 10
    assert call(cluster, model.predict, 3) == 30


def test_a_callable_object_sees_its_state_as_it_is(cluster: octapi.Cluster) -> None:
    """Whether it has a hash, equals another, or neither."""

    @dataclasses.dataclass
    class Add:  # it has no hash
        k: int

        def __call__(self, x: int) -> int:
            return x + self.k

    class Equal(Add):
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

    assert [call(cluster, Add(k), 100) for k in range(6)] == list(range(100, 106))
    assert [call(cluster, Equal(k), 100) for k in range(6)] == list(range(100, 106))
    one = Equal(1)
    assert call(cluster, one, 1) == 2
    one.k = 7
    assert call(cluster, one, 1) == 8


def test_a_partial_is_called_with_what_its_arguments_are_now(cluster: octapi.Cluster) -> None:
    """It may be nested, and its keywords may be given again."""
    conf = {"k": 1}

    def scaled(conf: dict[str, int], x: int, *, by: int = 1) -> int:
        return conf["k"] * x * by

    part = functools.partial(scaled, conf)
    assert call(cluster, part, 2) == 2
    conf["k"] = 10
    assert call(cluster, part, 2) == 20
    outer = functools.partial(functools.partial(part, by=2), 3)
    assert cluster.submit(outer).result(timeout=60) == 60
    assert cluster.submit(outer, by=5).result(timeout=60) == 150


def test_a_partial_of_ones_own_kind_travels_as_it_is(cluster: octapi.Cluster) -> None:
    """A subclass may do more than a partial does."""

    class Louder(functools.partial):  # type: ignore[type-arg]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, **kwargs) * 100

    assert call(cluster, Louder(pow, 2), 3) == 800


def test_methods_of_builtin_objects_see_their_object_as_it_is(cluster: octapi.Cluster) -> None:
    """A list's ``count``, a text's ``join``, a dict's ``get``."""
    numbers = [1, 2]
    assert call(cluster, numbers.count, 2) == 1
    numbers.append(2)
    assert call(cluster, numbers.count, 2) == 2
    table = {"a": 1}
    assert call(cluster, table.get, "a") == 1
    table["a"] = 2
    assert call(cluster, table.get, "a") == 2
    assert call(cluster, "-".join, ["x", "y"]) == "x-y"


# ---- functions and what they reach


def test_a_global_is_seen_as_it_is(cluster: octapi.Cluster) -> None:
    """Whether it is bound anew, changed inside, or comes and goes."""
    names = notebook("FACTOR = 1\nTABLE = {'k': [1]}\ndef f(x): return x * FACTOR * TABLE['k'][0]\n")
    assert call(cluster, names["f"], 3) == 3
    names["FACTOR"] = 2
    assert call(cluster, names["f"], 3) == 6
    names["TABLE"]["k"][0] = 5
    assert call(cluster, names["f"], 3) == 30
    names["TABLE"] = {"k": [7]}
    assert call(cluster, names["f"], 3) == 42
    del names["FACTOR"]
    with pytest.raises(NameError):
        cluster.submit(names["f"], 3).result(timeout=60)
    names["FACTOR"] = 1.0
    assert call(cluster, names["f"], 3) == 21
    assert isinstance(call(cluster, names["f"], 3), float)


def test_equal_values_of_other_types_are_told_apart(cluster: octapi.Cluster) -> None:
    """1, 1.0 and True are equal, and not the same."""
    names = notebook("K = 1\ndef f(): return type(K).__name__\n")
    assert call(cluster, names["f"]) == "int"
    names["K"] = 1.0
    assert call(cluster, names["f"]) == "float"
    names["K"] = True
    assert call(cluster, names["f"]) == "bool"


def test_helpers_of_helpers_are_seen_as_they_are(cluster: octapi.Cluster) -> None:
    """A function that another one calls may be defined anew, or reach something that changes."""
    names = notebook(
        "K = 1\ndef inner(): return K\ndef middle(): return inner()\ndef f(): return middle()\n",
    )
    assert call(cluster, names["f"]) == 1
    names["K"] = 2
    assert call(cluster, names["f"]) == 2
    exec("def inner(): return K + 100", names)
    assert call(cluster, names["f"]) == 102


def test_every_cell_of_a_notebook_counts(cluster: octapi.Cluster) -> None:
    """A function that is defined anew runs as it is now, also under its old name and also after many times."""
    names = notebook()
    for number in range(12):
        exec(f"def f(x): return x + {number}", names)
        assert call(cluster, names["f"], 1) == 1 + number


def test_closures_defaults_and_attributes_are_seen_as_they_are(cluster: octapi.Cluster) -> None:
    """Whatever belongs to a function itself."""

    def maker() -> tuple[Callable[[], int], Callable[[int], None]]:
        k = 1

        def get() -> int:
            return k

        def put(value: int) -> None:
            nonlocal k
            k = value

        return get, put

    get, put = maker()
    assert call(cluster, get) == 1
    put(2)
    assert call(cluster, get) == 2

    def f(x: int = 1, *, y: int = 1) -> int:
        return x + y

    assert call(cluster, f) == 2
    f.__defaults__ = (10,)
    assert call(cluster, f) == 11
    f.__kwdefaults__ = {"y": 20}
    assert call(cluster, f) == 30
    f.__code__ = (lambda x=1, *, y=1: x * y).__code__
    assert call(cluster, f) == 200

    names = notebook("def g(): return g.k\ng.k = 1\n")
    assert call(cluster, names["g"]) == 1
    names["g"].k = 2
    assert call(cluster, names["g"]) == 2


def test_mutable_defaults_and_closures_are_seen_as_they_are(cluster: octapi.Cluster) -> None:
    """A list in a default or a closure is sent with what is in it at the call."""
    box = [1]

    def from_closure() -> list[int]:
        return box

    def from_default(acc: list[int] = box) -> list[int]:
        return acc

    for number in range(3):
        box.append(number)
        assert call(cluster, from_closure) == call(cluster, from_default) == box


def test_classes_of_the_script_are_seen_as_they_are(cluster: octapi.Cluster) -> None:
    """Their attributes and methods may change between calls."""
    names = notebook(
        "class Base:\n    k = 1\n",
        "class Thing(Base):\n    def get(self): return self.k\n",
        "def f(): return Thing().get()\n",
    )
    assert call(cluster, names["f"]) == 1
    names["Base"].k = 2
    assert call(cluster, names["f"]) == 2
    exec("def get(self): return self.k * 10\nThing.get = get", names)
    assert call(cluster, names["f"]) == 20


def test_objects_in_globals_are_seen_as_they_are(cluster: octapi.Cluster) -> None:
    """Instances cannot be watched; a function that reaches one is pickled at each call."""
    names = notebook("import types\nconf = types.SimpleNamespace(k=1)\ndef f(): return conf.k\n")
    for number in range(8):
        names["conf"].k = number
        assert call(cluster, names["f"]) == number


def test_a_module_that_is_reloaded_is_sent_anew(
    cluster: octapi.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edit alone changes nothing for the running script, nor for its jobs."""
    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "octapi_test_reloaded.py"
    source.write_text("def get(): return 'old'\n")
    module = importlib.import_module("octapi_test_reloaded")
    names = notebook("import octapi_test_reloaded as m\ndef f(): return m.get()\n")
    try:
        assert call(cluster, module.get) == call(cluster, names["f"]) == "old"
        source.write_text("def get(): return 'the new one'\n")
        assert call(cluster, module.get) == call(cluster, names["f"]) == "old"
        importlib.reload(module)
        assert call(cluster, module.get) == call(cluster, names["f"]) == "the new one"
    finally:
        del sys.modules["octapi_test_reloaded"]


def test_the_scripts_arguments_are_seen_as_they_are(cluster: octapi.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script may change its sys.argv."""
    names = notebook("import sys\ndef f(): return sys.argv[1:]\n")
    for number in range(3):
        monkeypatch.setattr(sys, "argv", ["script", str(number)])
        assert call(cluster, names["f"]) == [str(number)]


def test_a_changing_function_comes_to_rest(cluster: octapi.Cluster) -> None:
    """One that is another at each call travels with its jobs; once it stays the same it is pickled once again."""
    names = notebook("K = 0\ndef f(): return K\n")
    for number in range(20):
        names["K"] = number
        assert call(cluster, names["f"]) == number
    jobs = [cluster.submit(names["f"]) for _ in range(20)]
    assert {job.result(timeout=60) for job in jobs} == {19}
    assert cluster._queues._callables.content(names["f"]) is not None


NUMBERS = st.integers(0, 3)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["K", "L", "default", "closure", "attribute", "helper", "class"]), NUMBERS),
        st.just(("call", 0)),
    ),
    min_size=2,
    max_size=10,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOVES)
def test_whatever_changes_jobs_say_what_plain_calls_say(cluster: octapi.Cluster, moves: list[tuple[str, int]]) -> None:
    """A random order of changes and calls."""
    names = notebook(
        "K = 0\nL = [0]\nclass C:\n    k = 0\n",
        "def helper(): return K\n",
        "def make():\n    cell = [0]\n    def f(x=0): return K, L, C.k, helper(), x, cell, getattr(f, 'a', 0)\n"
        "    return f, cell\n",
        "f, cell = make()\n",
    )
    f = names["f"]
    for what, number in moves:
        if what == "K":
            names["K"] = number
        elif what == "L":
            names["L"].append(number)
        elif what == "default":
            f.__defaults__ = (number,)
        elif what == "closure":
            names["cell"].append(number)
        elif what == "attribute":
            f.a = number
        elif what == "class":
            names["C"].k = number
        elif what == "helper":
            exec(f"def helper(): return {number}", names)
        else:
            want = f()
            assert cluster.submit(f).result(timeout=60) == want
            assert list(cluster.map(f, [5])) == [f(5)]
