"""Which of Dask's pages are passed on, and what they may load."""

import pytest

from octapi.page.dask import PAGES, may_pass, policy_for


def test_only_listed_pages_pass_and_none_by_a_detour() -> None:
    page = min(PAGES)
    assert may_pass(page)
    assert may_pass(f"{page}/x.js")
    for path in ("", "nothing", f"{page}/../json", f"{page}/./x", "../status"):
        assert not may_pass(path)


@pytest.mark.parametrize("host", ["", "a b", "x;script-src *", "'self'", "h\n"])
def test_a_host_that_is_none_gets_into_no_policy(host: str) -> None:
    policy = policy_for(host, is_secure=True)
    assert "'none'" in policy
    assert "/dask/" not in policy


def test_the_policy_names_the_host_by_its_scheme() -> None:
    assert "https://pi:8786/dask/ wss://pi:8786/dask/" in policy_for("pi:8786", is_secure=True)
    assert "http://pi:8786/dask/ ws://pi:8786/dask/" in policy_for("pi:8786", is_secure=False)
