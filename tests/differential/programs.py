"""Random programs, run on clusters and in plain forks of this process: what comes of each call must be the same.

    python programs.py SEED EXAMPLES ADDRESS [ADDRESS ...]

It runs as a script, so that its functions, classes and globals belong to ``__main__`` as a user's do.  A program
changes its own state and calls functions of many kinds; each call sees the state as it is then, as a fork made at that
moment does, and leaves nothing to the next.  Prints a line for what differs, and ends with exit code 1 then.
"""

import contextlib
import copy
import dataclasses
import enum
import functools
import io
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
from hypothesis import strategies as st

import octapi

RATE = 1
CONF = {"k": 1, "path": []}
SEEN: list[int] = []


class Model:
    """A model with state of the instance and of the class."""

    scale = 1

    def __init__(self) -> None:
        self.weight = 1

    def predict(self, x: int) -> int:
        return x * self.weight * self.scale

    def __call__(self, x: int) -> int:
        return x + self.weight

    @classmethod
    def scaled(cls, x: int) -> int:
        return x * cls.scale

    @staticmethod
    def fixed(x: int) -> int:
        return x + 7


@dataclasses.dataclass
class Part:
    """A value of the script."""

    x: int
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Adder:
    """A callable that has no hash."""

    k: int

    def __call__(self, x: int) -> int:
        return x + self.k


class Color(enum.Enum):
    """An enumeration of the script."""

    RED = 1
    BLUE = 2


class Broken(Exception):
    """An error with a constructor of its own."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


MODEL = Model()


def helper_one(x: int) -> int:
    return x + 1


def helper_two(x: int) -> int:
    return x + 100


helper = helper_one


def plain(x: int) -> int:
    return x * RATE


def uses_helper(x: int) -> int:
    return helper(x)


def uses_table(x: int) -> tuple[int, int]:
    return CONF["k"] * x, len(CONF["path"])  # type: ignore[arg-type, operator]


def accumulates(x: int) -> tuple[int, int]:
    SEEN.append(x)
    CONF["path"].append(x)  # type: ignore[attr-defined]
    return len(SEEN), len(CONF["path"])  # type: ignore[arg-type]


def defaults(x: int, seen: list[int] = []) -> int:  # noqa: B006
    seen.append(x)
    return len(seen)


def attributes(x: int) -> int:
    attributes.calls = getattr(attributes, "calls", 0) + x  # type: ignore[attr-defined]
    return attributes.calls  # type: ignore[attr-defined, no-any-return]


def class_state(x: int) -> int:
    Model.scale += x
    return Model.scale


def sets_global(x: int) -> int:
    global RATE
    RATE += x
    return RATE


def fails(x: int) -> int:
    raise Broken(x, "as it was to be")


def fails_in_chain(x: int) -> int:
    try:
        return {}[x]  # type: ignore[no-any-return]
    except KeyError as error:
        raise ValueError(f"no {x}") from error


def gives_part(x: int) -> Part:
    return Part(x, ["t"] * (x % 3))


def gives_color(x: int) -> Color:
    return Color.RED if x % 2 else Color.BLUE


def takes_part(x: int) -> tuple[bool, Any]:
    return isinstance(Part(x), Part), Color(1) is Color.RED


def keywords(x: int, *, y: int = 5) -> tuple[int, int]:
    return x, y


def prints(x: int) -> None:
    print("printed", x)


def environment(x: int) -> tuple[Any, bool]:
    before = os.environ.get("LEFT_BY"), os.getcwd() == "/"
    os.environ["LEFT_BY"] = str(x)
    os.chdir("/")
    return before


@functools.cache
def cached(x: int) -> int:
    return x if x < 2 else cached(x - 1) + cached(x - 2)


@functools.singledispatch
def kind(x: object) -> str:
    return "other"


@kind.register
def _(x: int) -> str:
    return f"int {x}"


def closure(k: int) -> Callable[[int], int]:
    box = [k]

    def inner(x: int) -> int:
        box.append(x)
        return sum(box)

    return inner


FUNCTIONS = (
    plain, uses_helper, uses_table, accumulates, defaults, attributes, class_state, sets_global, fails, fails_in_chain,
    gives_part, gives_color, takes_part, keywords, prints, environment, cached, kind,
)  # fmt: skip
MAKERS: dict[str, Callable[[int], Callable[[int], Any]]] = {
    "method": lambda k: MODEL.predict,
    "callable": lambda k: MODEL,
    "class method": lambda k: Model.scaled,
    "static method": lambda k: Model.fixed,
    "partial": lambda k: functools.partial(keywords, y=k),
    "partial of a method": lambda k: functools.partial(MODEL.predict),
    "lambda": lambda k: lambda x, n=k: x + n + RATE,
    "closure": closure,
    "no hash": Adder,
    "builtin": lambda k: abs,
    "class": lambda k: Part,
}

numbers = st.integers(-3, 12)
callables = st.one_of(
    st.sampled_from(FUNCTIONS).map(lambda function: ("function", function.__name__, 0)),
    st.tuples(st.just("made"), st.sampled_from(sorted(MAKERS)), numbers),
)
changes = st.tuples(
    st.sampled_from(["rate", "table", "weight", "scale", "helper", "seen"]), numbers, st.just(None), st.just(None)
)
calls = st.tuples(st.sampled_from(["submit", "callback", "options"]), callables, numbers, st.just(None))
maps = st.tuples(st.just("map"), callables, st.lists(numbers, max_size=12), st.booleans())
buffers = st.tuples(st.just("buffer"), st.just(None), st.integers(0, 6), st.just(None))
programs = st.lists(st.one_of(changes, calls, maps, buffers), min_size=1, max_size=10)


def reset() -> None:
    """Begin anew."""
    global RATE, helper, MODEL
    RATE, helper, MODEL = 1, helper_one, Model()
    Model.scale = 1
    CONF.update(k=1, path=[])
    SEEN.clear()


def change(what: str, value: int) -> None:
    """Change the script's state."""
    global RATE, helper
    if what == "rate":
        RATE = value
    elif what == "table":
        CONF["k"] = value
    elif what == "weight":
        MODEL.weight = value
    elif what == "scale":
        Model.scale = value
    elif what == "helper":
        helper = (helper_one, helper_two)[value % 2]
    else:
        SEEN.append(value)


def chosen(what: tuple[str, str, int]) -> Callable[[int], Any]:
    """Return the callable that a program names."""
    form, name, k = what
    found: Callable[[int], Any] = globals()[name] if form == "function" else MAKERS[name](k)
    return found


def described(value: Any, error: BaseException | None, printed: str = "") -> tuple[Any, ...]:
    """Return what can be compared of an outcome."""
    if error is not None:
        cause = type(error.__cause__).__name__ if isinstance(error.__cause__, KeyError) else ""
        return "error", type(error).__name__, error.args, getattr(error, "code", None), cause
    is_same = value is Color.RED or value is Color.BLUE or not isinstance(value, Color)
    return "value", repr(value), type(value) in (Part, Color) or type(value).__module__ == "builtins", is_same, printed


def in_a_fork(function: Callable[[int], Any], x: int) -> tuple[Any, ...]:
    """Call a function in a fork of this process as it is now."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            printed = io.StringIO()
            try:
                with contextlib.redirect_stdout(printed):
                    outcome = described(function(x), None, printed.getvalue())
                    outcome = (*outcome[:4], printed.getvalue())
            except Exception as error:
                outcome = described(None, error)
            os.write(write, pickle.dumps(outcome))
            code = 0
        os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    found: tuple[Any, ...] = pickle.loads(data)
    return found


def first_of(row: list[int]) -> int:
    return row[0] if row else -1


def rows(count: int) -> Iterator[list[int]]:
    """Yield one list again and again, with other content."""
    row = [0]
    for number in range(count):
        row[0] = number
        yield row


def expected(program: list[Any]) -> list[Any]:
    """Return what comes of a program's calls when each runs in a fork."""
    reset()
    found: list[Any] = []
    for what, which, value, _ in program:
        if what in ("submit", "callback", "options"):
            found.append(in_a_fork(chosen(which), value))
        elif what == "map":
            function = chosen(which)
            found.append(until_error(in_a_fork(function, x) for x in value))
        elif what == "buffer":
            found.append([("value", repr(number), True, True, "") for number in range(value)])
        else:
            change(what, which)
    return found


def until_error(outcomes: Iterator[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the outcomes up to the first error, as an iterator gives them; what was printed is not theirs."""
    found = []
    for outcome in outcomes:
        found.append(outcome if outcome[0] == "error" else (*outcome[:4], ""))
        if outcome[0] == "error":
            break
    return found


def results(iterator: Iterator[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the outcomes of a map."""
    while True:
        try:
            yield described(next(iterator), None)
        except StopIteration:
            return
        except Exception as error:
            yield described(None, error)
            return


def got(program: list[Any], cluster: octapi.Cluster) -> list[Any]:
    """Return what comes of a program's calls on a cluster: the jobs run while the program goes on."""
    reset()
    found: list[Any] = []
    for what, which, value, is_ordered in program:
        if what in ("submit", "callback", "options"):
            calls = cluster.options(retries=1, timeout_s=100) if what == "options" else cluster
            job = calls.submit(chosen(which), value)
            called: list[Any] = []
            job.add_done_callback(called.append)
            found.append((job, called))
        elif what == "map":
            iterator = cluster.map(chosen(which), value, ordered=is_ordered)
            outcomes = list(results(iterator))
            found.append(outcomes if is_ordered else sorted(outcomes))
        elif what == "buffer":
            found.append(list(results(cluster.map(first_of, rows(value)))))
        else:
            change(what, which)
    return [finished(*entry) if isinstance(entry, tuple) else entry for entry in found]


def finished(job: octapi.Job, called: list[Any]) -> tuple[Any, ...]:
    """Return a job's outcome."""
    error = job.exception(timeout=60)
    return described(None if error else job.result(), error, job.stdout)


def compared(program: list[Any], wanted: list[Any]) -> list[Any]:
    """Return what is to be compared: without order, only maps in which nothing fails have one outcome."""
    unordered = [entry for entry in program if entry[0] == "map" and not entry[3]]
    if not unordered:
        return wanted
    places = [entry for entry in program if entry[0] in ("submit", "callback", "options", "map", "buffer")]
    return [
        sorted(outcome) if entry[0] == "map" and not entry[3] else outcome
        for entry, outcome in zip(places, wanted, strict=True)
    ]


def main(seed: int, examples: int, addresses: list[str]) -> int:
    """Run programs, and say what differs."""
    with contextlib.ExitStack() as stack:
        clusters = {
            address: stack.enter_context(
                octapi.Cluster(address, slots=2 if address == "local" else None, progress=False)
            )
            for address in addresses
        }

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=examples, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
        )
        @hypothesis.given(programs)
        def same(program: list[Any]) -> None:
            ordered = [
                (what, which, value, True if what == "map" and is_risky(which) else flag)
                for what, which, value, flag in program
            ]
            wanted = compared(ordered, expected(copy.deepcopy(ordered)))
            for address, cluster in clusters.items():
                assert got(ordered, cluster) == wanted, address

        try:
            same()
        except BaseException:
            traceback.print_exc()
            return 1
    print(f"{examples} programs gave the same on {', '.join(addresses)} as in forks (seed {seed})")
    return 0


def slots_of(address: str) -> int | None:
    """Return how many processes a cluster at an address is to have, if that is ours to say."""
    return 2 if address == "local" else None


def is_risky(which: Any) -> bool:
    """Say whether a callable may fail: then the order decides what a map gives."""
    return which[1] in ("fails", "fails_in_chain")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
