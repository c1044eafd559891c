"""Clocks that are wrong: a Raspberry Pi has none, and wakes up weeks in the past."""

import json
from pathlib import Path

import pytest

from tests.harness import Yard, ports_of

WEEKS_S = 3 * 7 * 86400
CODE = "import octapi\nwith octapi.Cluster() as c:\n    job = c.submit(abs, -7)\n    print(job.result(), job.worker)"


def shifted(place: Path, seconds: float) -> dict[str, str]:
    """Return an environment in which Python's clock is off by so much."""
    path = place / f"clock{seconds:.0f}"
    path.mkdir(exist_ok=True)
    (path / "sitecustomize.py").write_text(
        f"import time\nreal = time.time\ntime.time = lambda: real() + {seconds}\n"
        f"time.time_ns = lambda: int((real() + {seconds}) * 1e9)\n"
    )
    return {"PYTHONPATH": str(path)}


@pytest.mark.parametrize("off_s", [-WEEKS_S, 10 * 3600, 90 * 86400])
def test_a_device_with_a_wrong_clock_joins_works_and_says_so(yard: Yard, off_s: float) -> None:
    """Dates are checked against the master's time, whose key the token pins."""
    env = shifted(yard.place, off_s)
    yard.master("--name", "school")
    red = yard.worker("red", yard.token(), env=env)
    assert "this device's clock differs from the master's" in red.text()
    yard.command("laptop", "login", yard.token("--role", "client"), env=env)
    assert yard.run("laptop", CODE, env=env).splitlines()[-1] == "7 red"
    red.stop()

    again = yard.worker("red", env=env)
    assert "using the master's" in again.text()
    assert "could not" not in again.text()
    said = yard.command("red", "doctor", env=env)
    assert "off the master's; OctaPi uses the master's" in said


def test_a_master_that_wakes_up_in_the_past_goes_on_from_the_time_it_knew(yard: Yard) -> None:
    """Its certificates and tokens are no younger than its own last word; nobody has to join again."""
    first = yard.master()
    ports = tuple(str(port) for port in ports_of(first).values())
    red = yard.worker("red", yard.token())
    token = yard.token()
    first.stop()
    yard.master(ports=ports, env=shifted(yard.place, -WEEKS_S))  # type: ignore[arg-type]

    red.until_says("red works for", 60, times=2)
    assert yard.run("master", CODE, env=shifted(yard.place, -WEEKS_S)).splitlines()[-1] == "7 red"
    yard.worker("blue", token)
    assert "expired" not in yard.command("master", "nodes")
    rows = json.loads(yard.command("master", "token", "list", "--json"))
    assert {row["state"] for row in rows} == {"valid"}
