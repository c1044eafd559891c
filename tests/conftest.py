"""Every test has a home of its own for OctaPi's files, and its scripts too."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.yard import Yard

# a shell that runs the tests in the background has them ignore Ctrl-C, and all that they start would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

#: files whose tests need the usual ports of this computer
USUAL_PORTS = ("test_docs.py", "test_apart.py", "test_balena.py")


@pytest.hookimpl(tryfirst=True)  # before the plugin that reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of one file in one process, for they share clusters; and those that need the usual ports too."""
    for item in items:
        group = "usual-ports" if item.path.name in USUAL_PORTS else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


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
