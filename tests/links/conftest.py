"""The places that every link leads to, one of each for a file of tests."""

from collections.abc import Iterator

import pytest

from tests.links.bench import Bench
from tests.links.sites import DaskSite, LocalSite, MasterSite, RemoteSite, Site

KINDS = {"local": LocalSite, "master": MasterSite, "dask": DaskSite}


@pytest.fixture(scope="module", params=KINDS)
def place(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A place with slots; workers come and go only where there are some."""
    found = KINDS[request.param]()
    yield found
    found.close()


@pytest.fixture(scope="module", params=["master", "dask"])
def cluster_place(request: pytest.FixtureRequest) -> Iterator[RemoteSite]:
    """A place whose workers come and go."""
    found = KINDS[request.param]()
    assert not isinstance(found, LocalSite)
    yield found
    found.close()


@pytest.fixture
def bench(place: Site) -> Iterator[Bench]:
    """A link that has started, and who hears what it says."""
    found = Bench(place.link())
    yield found
    found.close()


@pytest.fixture
def cluster_bench(cluster_place: RemoteSite) -> Iterator[Bench]:
    """The same where workers come and go."""
    found = Bench(cluster_place.link())
    yield found
    found.close()
