"""Every test has a home of its own for OctaPi's files, and its scripts too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.yard import Yard


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
