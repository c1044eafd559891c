"""CPython's own tests of executors, run against :class:`octapi.Cluster`: here, and on a master with two workers.

Debian's ``libpythonX.Y-testsuite`` has them; ``scripts/test`` takes them out of that package.  What looks into the
insides of ThreadPoolExecutor or ProcessPoolExecutor is left out, and named below with the reason.
"""

import importlib
import os
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import octapi
from octapi.testing import EmbeddedCluster

PLACE = Path(os.environ.get("OCTAPI_CACHE") or Path.home() / ".cache" / "octapi") / (
    f"cpython-tests-{sys.version_info.major}.{sys.version_info.minor}"
)
NAME = "cpython_futures"
#: what is not asked of a cluster
LEFT_OUT = {
    "test_max_workers_negative": "the text of the error is the standard library's own",
    "test_map_timeout": "it takes six seconds; tests/client/test_executor.py has the same with less",
    "test_map_buffersize_type_validation": "buffersize of map means the same, and None is its default here too",
    "test_map_buffersize_value_validation": "likewise",
    "test_map_buffersize_without_iterable": "likewise",
    "test_map_buffersize_on_empty_iterable": "likewise",
    "test_map_buffersize_on_multiple_iterables": "likewise",
    "test_map_buffersize_on_infinite_iterable": "likewise",
    "test_map_buffersize_on_multiple_infinite_iterables": "likewise",
    "test_map_buffersize_when_buffer_is_full": "likewise",
    "test_20369": "it hands wait() futures that no executor has; nothing of a cluster is in it",
    "test_pending_calls_race": "about threads of ThreadPoolExecutor",
}


def modules() -> list[ModuleType]:
    """Return the modules of CPython's tests: one file until 3.11, a package since."""
    if not (PLACE / NAME).exists() and not (PLACE / f"{NAME}.py").exists():
        if os.environ.get("CI"):
            pytest.fail(f"CPython's executor tests are not in {PLACE}; scripts/test gets them.")
        pytest.skip("libpython's testsuite is not here; scripts/test gets it")
    if str(PLACE) not in sys.path:
        sys.path.insert(0, str(PLACE))
    whole = importlib.import_module(NAME)
    if hasattr(whole, "ExecutorTest"):
        return [whole]
    return [importlib.import_module(f"{NAME}.{part}") for part in ("executor", "test_wait", "test_as_completed")]


def cases() -> list[type]:
    """Return the classes of tests that hold for every executor."""
    wanted = ("ExecutorTest", "WaitTests", "AsCompletedTests")
    return [getattr(module, name) for module in modules() for name in wanted if hasattr(module, name)]


def suite(address: str) -> unittest.TestSuite:
    """Return CPython's tests, with clusters at an address for executors."""

    class Executor(octapi.Cluster):
        def __init__(self, max_workers: int | None = None, **_: Any) -> None:
            super().__init__(address, slots=max_workers if address == "local" else None, progress=False)

    class Mixin:
        executor_type = Executor
        worker_count = 2

        def setUp(self) -> None:
            self.executor = Executor(max_workers=2)

        def tearDown(self) -> None:
            self.executor.shutdown()

    found = unittest.TestSuite()
    for case in cases():
        made: Any = type(f"Octapi{case.__name__}", (Mixin, case, unittest.TestCase), {})
        for name in unittest.defaultTestLoader.getTestCaseNames(made):
            if name not in LEFT_OUT:
                found.addTest(made(name))
    return found


@pytest.fixture(params=["local", "cluster"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "local":
        yield "local"
        return
    with EmbeddedCluster(workers=2, slots=1) as embedded:
        yield embedded.address


def test_cpythons_own_tests_of_executors_hold(address: str) -> None:
    """Submit, map, wait, as_completed, timeouts, references that are let go: all but what is left out by name."""
    result = unittest.TestResult()
    tests = suite(address)
    count = tests.countTestCases()

    tests.run(result)

    wrong = [f"{test}: {text.strip().splitlines()[-1]}" for test, text in [*result.failures, *result.errors]]
    assert not wrong
    assert result.testsRun == count > 15
