"""Tests can fail, and wait on conditions: each rule with the exceptions that there are, and why."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]
#: calls that fail a test when something is not so
CHECKS: Final = frozenset({"raises", "warns", "fail", "expect", "until", "until_says", "run_state_machine_as_test"})
CLOCKS: Final = frozenset({"monotonic", "perf_counter", "time"})

READS: Final = "whatever is read but an error of the wanted kind fails it"
WITHOUT_ASSERTION: Final = {
    ("security/test_fuzz.py", "test_the_good_messages_are_good"): READS,
    ("security/test_fuzz.py", "test_bytes_that_were_changed_on_their_way_are_read_or_refused"): READS,
    ("security/test_fuzz.py", "test_frames_of_dask_that_were_changed_are_read_or_refused"): READS,
    ("security/test_fuzz.py", "test_lines_between_processes_are_objects_or_refused"): READS,
}
SLEEPS: Final = {
    (
        "store/test_writer.py",
        "test_a_writer_killed_at_any_instruction_leaves_a_sound_database_with_all_that_was_promised",
    ): "to strike at other instructions each time",
}


def called(call: ast.Call) -> str:
    """Return the last part of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def calls_in(node: ast.AST) -> list[ast.Call]:
    return [part for part in ast.walk(node) if isinstance(part, ast.Call)]


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs in the function itself, not in those that it defines, which may be jobs."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield node
            yield from own_nodes(node)


@functools.cache
def files() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(
        (path.relative_to(TESTS).as_posix(), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(TESTS.rglob("*.py"))
    )


def run_by_pytest(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the tests of a module, and its fixtures: what pytest runs in its own process."""
    found = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [
        node
        for node in found
        if node.name.startswith("test_") or any("fixture" in ast.unparse(mark) for mark in node.decorator_list)
    ]


def may_fail(function: ast.AST, helpers: dict[str, bool]) -> bool:
    """Say whether a function asserts something, by itself or by a helper of its module."""
    if any(isinstance(node, (ast.Assert, ast.Raise)) for node in ast.walk(function)):
        return True
    names = {called(call) for call in calls_in(function)}
    return bool(names & CHECKS) or any(helpers.get(name, False) for name in names)


def helpers_of(tree: ast.Module) -> dict[str, bool]:
    """Return which functions of a module may fail a test, also through each other."""
    functions = {n.name: n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))}
    known: dict[str, bool] = {}
    for _ in functions:
        news = {name: may_fail(function, known) for name, function in functions.items()}
        if news == known:
            break
        known = news
    return known


def without_assertion(tree: ast.Module) -> list[str]:
    helpers = helpers_of(tree)
    return [
        function.name
        for function in run_by_pytest(tree)
        if function.name.startswith("test_") and not may_fail(function, helpers)
    ]


def sleeping(tree: ast.Module) -> list[str]:
    return [
        function.name
        for function in run_by_pytest(tree)
        if any(isinstance(node, ast.Call) and called(node) == "sleep" for node in own_nodes(function))
    ]


def spinning(tree: ast.Module) -> list[str]:
    """Return the tests that wait in a loop of their own: ``until`` has a deadline and says what did not happen."""
    return [
        function.name
        for function in run_by_pytest(tree)
        for node in own_nodes(function)
        if isinstance(node, ast.While)
        and (reads_clock(node) or all(isinstance(statement, ast.Pass) for statement in node.body))
    ]


def reads_clock(node: ast.AST) -> bool:
    return any(called(call) in CLOCKS and ast.unparse(call.func).startswith("time.") for call in calls_in(node))


def timed(tree: ast.Module) -> list[int]:
    """Return the lines of assertions about how long something took by this computer's clock."""
    return [
        node.lineno
        for function in run_by_pytest(tree)
        for node in own_nodes(function)
        if isinstance(node, ast.Assert) and reads_clock(node.test) and "monotonic" in ast.unparse(node.test)
    ]


def over_nothing(scope: ast.AST) -> Iterator[int]:
    """Yield the lines of ``assert all(...)`` over what nothing shows to hold anything."""
    seen: set[str] = set()
    asserts = [node for node in ast.walk(scope) if isinstance(node, ast.Assert)]
    for node in sorted(asserts, key=lambda node: node.lineno):
        for call in calls_in(node.test):
            if called(call) == "all" and call.args and isinstance(call.args[0], ast.GeneratorExp):
                source = call.args[0].generators[0].iter
                if not is_filled(source) and base(source) not in seen:
                    yield node.lineno
        seen |= {ast.unparse(part) for part in ast.walk(node.test) if isinstance(part, ast.expr)}


def is_filled(source: ast.expr) -> bool:
    """Say whether an iterable is written out, or is a range of so many."""
    if isinstance(source, (ast.Tuple, ast.List, ast.Set)):
        return bool(source.elts)
    return isinstance(source, ast.Call) and called(source) == "range" and isinstance(source.args[-1], ast.Constant)


def base(source: ast.expr) -> str:
    """Return a dictionary itself for its items, values or keys."""
    text = ast.unparse(source)
    return text.rpartition(".")[0] if text.endswith((".items()", ".values()", ".keys()")) else text


def test_every_test_can_fail() -> None:
    found = {(file, name) for file, tree in files() for name in without_assertion(tree)}
    assert found == WITHOUT_ASSERTION.keys()


def test_no_test_sleeps_to_wait_for_something() -> None:
    """Jobs and scripts may sleep; a test waits on a condition with a deadline."""
    found = {(file, name) for file, tree in files() for name in sleeping(tree)}
    assert found == SLEEPS.keys()
    assert [(file, name) for file, tree in files() for name in spinning(tree)] == []


def test_no_test_fails_because_a_computer_is_slow() -> None:
    assert [(file, line) for file, tree in files() for line in timed(tree)] == []


def test_all_is_asserted_of_something() -> None:
    """Else it holds for nothing at all."""
    scopes = ((file, scope) for file, tree in files() for scope in (run_by_pytest(tree) or [tree]))
    assert [(file, line) for file, scope in scopes for line in over_nothing(scope)] == []


def test_these_rules_find_what_they_are_for() -> None:
    bad = ast.parse(
        "import time\n"
        "def test_a():\n    act()\n"
        "def test_b():\n    time.sleep(1)\n    assert all(x for x in rows)\n"
        "def test_c():\n    while not job.running():\n        pass\n    assert time.monotonic() - began < 2\n"
        "def test_d():\n    assert rows\n    assert all(x for x in rows)\n    submit(lambda: time.sleep(1))\n"
    )
    assert without_assertion(bad) == ["test_a"]
    assert sleeping(bad) == ["test_b"]
    assert spinning(bad) == ["test_c"]
    assert timed(bad) == [10]
    assert [line for test in run_by_pytest(bad) for line in over_nothing(test)] == [6]
