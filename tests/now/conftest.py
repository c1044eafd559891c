"""Each fact is tried on this computer's cores, and on a master with two workers."""

from collections.abc import Iterator

import pytest

import octapi
from octapi.testing import EmbeddedCluster


@pytest.fixture(scope="module", params=["local", "cluster"])
def cluster(request: pytest.FixtureRequest) -> Iterator[octapi.Cluster]:
    """Give a cluster of this computer's cores, and one of a master and two workers."""
    if request.param == "local":
        with octapi.Cluster("local", slots=2) as found:
            yield found
        return
    with EmbeddedCluster(workers=2, slots=1) as embedded, octapi.Cluster(embedded.address) as found:
        yield found
