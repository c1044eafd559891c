"""/api/v1 keeps to its own description, whatever it is asked."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from octapi.page import openapi
from tests.harness import Yard
from tests.page.screenshots import Sight

DESCRIPTION = openapi.describe()
#: what would end, remove or flood what other requests look at
LEFT_OUT = "^/(events|join)$"
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION).exclude(path_regex=LEFT_OUT)
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]


@pytest.fixture(scope="module")
def sight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sight]:
    yard = Yard(tmp_path_factory.mktemp("api"))
    found = Sight(yard)
    found.workers(1)
    yard.run("master", "from octapi import Cluster\nwith Cluster() as c:\n    print(sum(c.map(abs, range(50))))")
    yield found
    yard.close()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda found: f"{found.method}-{found.path}")
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_answer_is_as_described(operation: Any, data: st.DataObject, sight: Sight) -> None:
    """Status, kind and content, for requests that are right and for those that are not."""
    case = data.draw(operation.as_strategy())
    answer = case.call(
        base_url=f"http://127.0.0.1:{sight.port}/api/v1", headers={"authorization": f"Bearer {sight.token}"}
    )
    case.validate_response(
        answer, checks=[status_code_conformance, content_type_conformance, response_schema_conformance]
    )
    assert answer.status_code < 500 or answer.status_code == 503


def test_the_description_that_is_served_is_the_one_that_is_tested(sight: Sight) -> None:
    """And every route is in it."""
    found = sight.get("/openapi.json")
    assert found == DESCRIPTION
    assert {"/me", "/runs", "/runs/{run}", "/devices", "/workers", "/events", "/join"} <= set(found["paths"])
