"""What a job gets is what the caller's objects are at the call; what is not used again is let go."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import gc
import importlib
import itertools
import os
import queue
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import octapi
from octapi.dispatch import callables, lanes
from octapi.dispatch.enclosed import Enclosures, paths_of
from octapi.dispatch.snapshot import same, signature
from octapi.embedded import EmbeddedCluster
from octapi.errors import JobNotSent
from octapi.items import Items
from tests.yard import until


@pytest.fixture(scope="module", params=["local", "cluster"])
def cluster(request: pytest.FixtureRequest) -> Iterator[octapi.Cluster]:
    """Give a cluster of this computer's cores, and one of a master and two workers."""
    if request.param == "local":
        with octapi.Cluster("local", slots=2) as found:
            yield found
        return
    with EmbeddedCluster(workers=2, slots=1) as embedded, octapi.Cluster(embedded.address) as found:
        yield found


def notebook(*cells: str) -> dict[str, Any]:
    """Execute cells as a notebook does, in one ``__main__``-like namespace."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        exec(cell, names)
    return names


def call(cluster: octapi.Cluster, function: Callable[..., Any], *args: Any) -> Any:
    """Submit one call, and map one item; both must say the same."""
    submitted = cluster.submit(function, *args).result(timeout=60)
    mapped = list(cluster.map(function, *([arg] for arg in args))) if args else [submitted]
    assert mapped == [submitted]
    return submitted


# ---- objects that change between calls


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


def test_a_changing_function_comes_to_rest(cluster: octapi.Cluster) -> None:
    """One that is another at each call travels with its jobs; once it stays the same it is pickled once again."""
    names = notebook("K = 0\ndef f(): return K\n")
    for number in range(20):
        names["K"] = number
        assert call(cluster, names["f"]) == number
    jobs = [cluster.submit(names["f"]) for _ in range(20)]
    assert {job.result(timeout=60) for job in jobs} == {19}
    assert cluster._lanes._callables.content(names["f"]) is not None


NUMBERS = st.integers(0, 3)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["K", "L", "default", "closure", "attribute", "helper", "class"]), NUMBERS),
        st.just(("call", 0)),
    ),
    min_size=2,
    max_size=14,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


# ---- files


def read_text(name: str) -> str:
    """Run in a slot."""
    return Path(name).read_text()


def test_files_are_sent_as_they_are_at_the_call(
    cluster: octapi.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when neither their size nor the time of the change tells."""
    monkeypatch.chdir(tmp_path)
    path = Path("data.txt")
    calls = cluster.options(files="data.txt")
    for text in ("one", "two", "three", "eerht", "one"):
        path.write_text(text)
        assert calls.submit(read_text, "data.txt").result(timeout=60) == text
        assert list(calls.map(read_text, ["data.txt"])) == [text]
    facts = path.stat()
    path.write_text("eno")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert calls.submit(read_text, "data.txt").result(timeout=60) == "eno"


def test_one_file_or_several_in_any_form() -> None:
    """A text, a path, a list, a generator."""
    assert paths_of("a.txt") == ("a.txt",)
    assert paths_of(Path("a.txt")) == (Path("a.txt"),)
    assert paths_of(["a", Path("b")]) == paths_of(p for p in ("a", Path("b"))) == ("a", Path("b"))
    assert paths_of(()) == ()
    with pytest.raises(TypeError, match="files must be"):
        paths_of(5)


def test_a_file_that_cannot_be_sent_is_named(cluster: octapi.Cluster, tmp_path: Path) -> None:
    """One that is missing, a directory, and two of one name."""
    calls = cluster.options(files=tmp_path / "absent.txt")
    with pytest.raises(JobNotSent, match=r"absent\.txt.*No such file") as caught:
        calls.submit(abs, 1).result(timeout=60)
    assert "pickl" not in str(caught.value)
    with pytest.raises(JobNotSent, match=r"absent\.txt"):
        list(calls.map(abs, [1]))
    with pytest.raises(JobNotSent, match="directory"):
        cluster.options(files=tmp_path).submit(abs, 1).result(timeout=60)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.txt").write_text(name)
    with pytest.raises(JobNotSent, match=r"both arrive as same\.txt"):
        cluster.options(files=[tmp_path / "a/same.txt", tmp_path / "b/same.txt"]).submit(abs, 1).result(timeout=60)


def test_files_that_have_not_changed_for_long_are_not_read_again(tmp_path: Path) -> None:
    """Their times tell; but what has just been written may be written again at the same time."""
    path = tmp_path / "data"
    path.write_text("x")
    files = Enclosures()
    files.digest((path,))
    assert not files._known
    os.utime(path, (1, 1))
    until(lambda: files.digest((path,)) and files._known, 10)
    known = dict(files._known)
    assert files.digest((path,)) == next(iter(known.values()))[1]
    path.write_text("y")
    assert files.digest((path,)) != next(iter(known.values()))[1]


# ---- map


def test_map_takes_each_item_as_it_is_when_it_is_taken(cluster: octapi.Cluster) -> None:
    """A generator may use one list for all its items."""

    def rows(count: int) -> Iterator[list[int]]:
        row: list[int] = []
        for number in range(count):
            row.append(number)
            yield row

    def mixed(count: int) -> Iterator[Any]:
        row: list[int] = []
        for number in range(count):
            row.append(number)
            yield row if number % 3 else number

    assert list(cluster.map(len, rows(300))) == list(range(1, 301))
    want = [len(item) if isinstance(item, list) else item for item in mixed(300)]
    assert list(cluster.map(lambda x: len(x) if isinstance(x, list) else x, mixed(300))) == want
    assert list(cluster.map(lambda a, b: (a, len(b)), range(100), rows(100))) == [(n, n + 1) for n in range(100)]


def test_map_takes_a_container_as_it_is_at_the_call(cluster: octapi.Cluster) -> None:
    """What becomes of it, and of what is in it, changes nothing."""
    items = [[n] for n in range(500)]
    found = cluster.map(sum, items)
    for item in items:
        item.append(1000)
    items.clear()
    assert list(found) == list(range(500))
    table = {n: str(n) for n in range(50)}
    found = cluster.map(lambda key, value: (key, value), table, table.values())
    table.clear()
    assert list(found) == [(n, str(n)) for n in range(50)]


def test_map_without_iterables_or_items_ends_at_once(cluster: octapi.Cluster) -> None:
    """As zip() does."""
    assert list(cluster.map(abs)) == list(cluster.map(abs, [])) == list(cluster.map(pow, [1], [])) == []


def test_map_refuses_sizes_that_mean_nothing(cluster: octapi.Cluster) -> None:
    """As the standard library does."""
    for size in (0, -1):
        with pytest.raises(ValueError, match="chunksize"):
            cluster.map(abs, [1], chunksize=size)
        with pytest.raises(ValueError, match="buffersize"):
            cluster.map(abs, [1], buffersize=size)
    assert list(cluster.map(abs, [-1], chunksize=10, buffersize=1)) == [1]


def test_map_may_be_fed_by_its_own_results(cluster: octapi.Cluster) -> None:
    """An item waits for no other: what was taken is sent, also while the iterable gives no more."""
    todo: queue.Queue[int | None] = queue.Queue()
    todo.put(1)
    seen = []
    for number in cluster.map(abs, iter(todo.get, None)):
        seen.append(number)
        todo.put(number + 1 if number < 40 else None)
    assert seen == list(range(1, 41))


def test_map_over_an_endless_generator_stops_when_it_is_closed(cluster: octapi.Cluster) -> None:
    """It takes no more than it may, and nothing after its end."""
    taken = itertools.count()

    def endless() -> Iterator[list[int]]:
        while True:
            yield [next(taken)]

    found = cluster.map(len, endless(), buffersize=200)
    assert list(itertools.islice(found, 300)) == [1] * 300
    found.close()  # type: ignore[attr-defined]
    until(lambda: not any(thread.name == "octapi-map" for thread in threading.enumerate()))
    assert next(taken) < 1000


def test_an_item_that_cannot_be_pickled_fails_in_its_place(cluster: octapi.Cluster) -> None:
    """The others are done."""
    found = cluster.map(lambda x: x, [[1], threading.Lock(), [3]])
    assert next(found) == [1]
    with pytest.raises(JobNotSent, match="An item cannot be pickled"):
        next(found)
    items = Items(([1, [2], threading.Lock(), 4],), 100)
    rows: list[Any] = []
    assert not items.take(4, rows)
    assert items.take(1, rows)
    assert [type(row).__name__ for row in rows] == ["tuple", "bytes", "Unsent", "tuple"]


def test_large_items_are_not_taken_far_ahead(cluster: octapi.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded in bytes, not only in number."""
    monkeypatch.setattr("octapi.results.AHEAD_BYTES", 4 << 20)
    taken = []

    def frames() -> Iterator[bytearray]:
        frame = bytearray(1 << 20)
        for number in range(60):
            taken.append(number)
            frame[0] = number
            yield frame

    blocked = cluster.map(lambda frame: frame[0], frames(), buffersize=1000)
    assert list(blocked) == list(range(60))
    results = cluster._lanes
    assert len(taken) == 60
    assert results is cluster._lanes


# ---- letting go


class Target:
    """Something that jobs are given; in a module that slots can import."""

    def __init__(self) -> None:
        self.size = 3

    def method(self) -> int:
        """Run in a slot."""
        return self.size

    def __call__(self) -> int:
        return self.size


def is_gone(ref: weakref.ref[Any]) -> bool:
    """Say whether an object was let go."""
    gc.collect()
    return ref() is None


def test_what_a_call_was_made_of_is_let_go(cluster: octapi.Cluster) -> None:
    """The object of a method, a callable, an argument, an item, a function and its closure."""

    def taking(thing: Any) -> int:
        return thing.size  # type: ignore[no-any-return]

    def closing(thing: Any) -> Callable[[], int]:
        return lambda: thing.size  # type: ignore[no-any-return]

    ways: list[Callable[[Target], Any]] = [
        lambda thing: cluster.submit(thing.method),
        lambda thing: cluster.submit(thing),
        lambda thing: cluster.submit(taking, thing),
        lambda thing: cluster.submit(functools.partial(taking, thing)),
        lambda thing: cluster.submit(closing(thing)),
        lambda thing: list(cluster.map(taking, [thing])),
        lambda thing: list(cluster.map(taking, iter([thing]))),
        lambda thing: list(cluster.map(closing(thing))),
    ]
    for way in ways:
        thing = Target()
        ref = weakref.ref(thing)
        way(thing)
        del thing
        until(lambda ref=ref: is_gone(ref))  # type: ignore[misc]


def test_results_are_let_go_with_their_job(cluster: octapi.Cluster) -> None:
    """The engine keeps none, also while others of their batch run."""
    job = cluster.submit(Target)
    result = job.result(timeout=60)
    ref = weakref.ref(result)
    del job, result
    until(lambda: is_gone(ref))
    for found in cluster.map(lambda n: Target(), range(3)):
        ref = weakref.ref(found)
        del found
        until(lambda ref=ref: is_gone(ref))  # type: ignore[misc]


def test_what_cannot_be_sent_is_let_go_too(cluster: octapi.Cluster) -> None:
    """The error's traceback does not hold the arguments."""
    thing = Target()
    ref = weakref.ref(thing)
    job = cluster.submit(pow, thing, threading.Lock())
    assert isinstance(job.exception(timeout=60), JobNotSent)
    del thing
    until(lambda: is_gone(ref))


def test_functions_are_not_kept_by_what_is_known_of_them(cluster: octapi.Cluster) -> None:
    """Also when they reach themselves."""
    names = notebook("def fact(n): return 1 if n < 2 else n * fact(n - 1)\n")
    assert call(cluster, names["fact"], 5) == 120
    ref = weakref.ref(names["fact"])
    names.clear()
    until(lambda: is_gone(ref))


def agents_of(cluster: octapi.Cluster) -> list[Any]:
    """Return the agents that live in this process."""
    agent = getattr(cluster.engine.link, "agent", None)
    return [agent] if agent is not None else []


def test_thousands_of_callables_leave_nothing(cluster: octapi.Cluster) -> None:
    """Neither here nor at the workers is more kept than a few."""
    jobs = [cluster.submit(lambda n=n: n) for n in range(1000)]
    jobs += [cluster.submit(functools.partial(pow, n, 1)) for n in range(1000)]
    jobs += [cluster.submit(eval(f"lambda: {n}")) for n in range(1000)]
    assert [job.result(timeout=120) for job in jobs] == list(range(1000)) * 3
    del jobs
    assert len(cluster._lanes) <= lanes.MOST
    until(lambda: len(cluster.engine.lanes) <= lanes.MOST)
    for agent in agents_of(cluster):
        until(lambda agent=agent: len(agent.computations.known) <= lanes.MOST)  # type: ignore[misc]
    gc.collect()
    assert len(cluster._lanes._callables._entries) <= lanes.MOST


def test_computations_that_are_not_used_again_are_forgotten_everywhere() -> None:
    """At the client, the master, the workers and their slots; one that has jobs is forgotten after them."""
    with EmbeddedCluster(workers=1, slots=1) as embedded, octapi.Cluster(embedded.address) as cluster:
        gate = Path(embedded_directory()) / "gate"
        long = cluster.submit(wait_for, str(gate))
        makers = [notebook(f"def f{n}(): return {n}")[f"f{n}"] for n in range(lanes.MOST + 20)]
        jobs = [cluster.submit(maker) for maker in makers]
        gate.touch()
        assert long.result(timeout=60) == "open"
        assert [job.result(timeout=60) for job in jobs] == list(range(lanes.MOST + 20))
        until(lambda: len(cluster.engine.lanes) <= lanes.MOST)
        assert cluster.submit(makers[0]).result(timeout=60) == 0
        gate.unlink()


def embedded_directory() -> str:
    """Return a directory that jobs can see."""
    import tempfile

    return tempfile.mkdtemp()


def wait_for(path: str) -> str:
    """Run in a slot until a file is there."""
    import time

    while not Path(path).exists():
        time.sleep(0.01)
    return "open"


# ---- how it is known whether a function changed


def noop() -> None:
    """Do nothing."""


def test_a_signature_is_the_same_as_long_as_nothing_changes() -> None:
    """For functions that travel by name and by value, classes, and what they reach."""
    names = notebook(
        "import math, re, enum, functools, collections, dataclasses\n"
        "P = re.compile('x')\nN = collections.namedtuple('N', 'a b')\nQ = collections.deque([1])\n"
        "@dataclasses.dataclass\nclass D:\n    x: int\n    y: list = dataclasses.field(default_factory=list)\n"
        "@functools.lru_cache\ndef cached(n): return n\n"
        "def f(n: int, *, k=(1, 2)) -> 'str': return math.sin(n), P, N(1, 2), D(1), Q, cached(1), functools.partial(g, 1)\n"
        "def g(n): return f(n)\n"
    )
    for thing in (names["f"], names["g"], names["D"], names["N"], noop, abs, Target, importlib.import_module):
        assert same(signature(thing), signature(thing)), thing


def test_a_signature_says_when_it_cannot_tell() -> None:
    """Objects, arrays of memory, and modules that nobody can import."""
    for value in ("object()", "bytearray(3)", "types.SimpleNamespace()", "types.ModuleType('m')", "iter([])"):
        names = notebook(f"import types\nV = {value}\ndef f(): return V\n")
        assert signature(names["f"]) is None, value


def test_containers_with_other_parts_have_other_signatures() -> None:
    """The ends of containers, and what is met twice, are told apart."""
    shapes = ["[1, [2]]", "[[1], 2]", "[1, 2]", "[[1, 2]]", "(1, 2)", "{1: 2}", "{1, 2}", "[1, 2, []]", "[[], 1, 2]"]
    found = [signature(notebook(f"V = {shape}\ndef f(): return V\n")["f"]) for shape in shapes]
    codes = [[token for token in tokens or [] if not isinstance(token, types.CodeType)] for tokens in found]
    assert not any(same(a, b) for a, b in itertools.combinations(codes, 2))
    names = notebook("A = []\nB = A\ndef f(): return A, B\n")
    before = signature(names["f"])
    names["B"] = []
    assert not same(before, signature(names["f"]))


class Colour(enum.Enum):
    """Members are known by their name."""

    RED = 1


def test_members_of_enumerations_and_loggers_are_known_by_name() -> None:
    """They cannot be another without being seen."""
    names = notebook("import logging\nL = logging.getLogger('x')\ndef f(): return L, C\n")
    names["C"] = Colour.RED
    assert same(signature(names["f"]), signature(names["f"]))


def test_few_places_and_functions_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are."""
    monkeypatch.setattr(callables, "REMEMBERED", 10)
    monkeypatch.setattr(callables, "PLACES", 10)
    known = callables.Callables()
    functions = [notebook("\n" * n + "def f(): return 1")["f"] for n in range(100)]
    for function in functions:
        assert known.content(function) is not None
    assert len(known._entries) <= 10
    assert len(known._places) <= 10
    assert collections.Counter(map(known.content, [functions[-1]] * 3)).total() == 3
