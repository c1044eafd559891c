"""Every test has a home of its own for OctaPi's files, and its scripts too."""

import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import parts
from tests.harness import Yard

# a shell that runs the tests in the background has them ignore Ctrl-C, and all that they start would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

#: files whose tests need the usual ports of this computer
USUAL_PORTS = ("test_docs.py", "test_apart.py", "test_balena.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the slow part."""
    for item in items:
        code = getattr(getattr(item, "function", None), "__code__", None)
        names = set() if code is None else set(code.co_names)
        if parts.needs_services(set(getattr(item, "fixturenames", ())), names, str(item.path)):
            item.add_marker(pytest.mark.services)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Keep what was skipped for scripts/test, which shows it at its end; tell it at once without that."""
    if hasattr(terminalreporter.config, "workerinput"):
        return  # one of several processes; the one that started them hears of all
    found = parts.rows(terminalreporter.stats.get("skipped", []))
    kept = os.environ.get("OCTAPI_TEST_SKIPPED")
    if kept:
        parts.keep(Path(kept), found)
    elif found:
        terminalreporter.write_line(parts.table(found))


@pytest.fixture(autouse=True)
def usual_ports(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let one test at a time have the usual ports, for files are run side by side."""
    if request.path.name not in USUAL_PORTS:
        yield
        return
    with (Path(tempfile.gettempdir()) / "octapi-usual-ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True, scope="session")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep the user's settings out of the tests, and the tests out of the user's settings."""
    home = tmp_path_factory.mktemp("octapi-home")
    patch = pytest.MonkeyPatch()
    patch.setenv("OCTAPI_HOME", str(home))
    yield home
    patch.undo()


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """Give a test devices of its own."""
    found = Yard(tmp_path)
    yield found
    found.close()
