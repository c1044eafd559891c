"""Connections that break, and masters that are killed: every job runs once and has one outcome."""

import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.relay import Relay
from tests.harness import Running, Yard, ports_of, until

#: each job writes its number into the file that it is given, so that a second execution shows
SCRIPT = """
import os, sys, time
import octapi

def work(n, path):
    time.sleep(0.02 + 0.2 * (n % 10 == 0))
    with open(path, "a") as file:
        file.write(f"{n}\\n")
    if n % 7 == 0:
        raise ValueError(n)
    return n * n

with octapi.Cluster() as cluster:
    once = cluster.options(retries=int(os.environ.get("OCTAPI_TEST_RETRIES", "0")))
    jobs = [once.submit(work, n, sys.argv[1]) for n in range(200)]
    for n, job in enumerate(jobs):
        try:
            assert job.result() == n * n
        except ValueError as error:
            assert error.args == (n,) and n % 7 == 0
print("all", len(jobs))
"""


def start(yard: Yard, ran: Path, **env: str) -> Running:
    """Start the script on the master's device, as another process of its login."""
    path = yard.place / "script.py"
    path.write_text(SCRIPT)
    found = Running([sys.executable, str(path), str(ran)], yard.home("master"), env=env)
    yard.running.append(found)
    return found


def lines(path: Path) -> list[str]:
    """Return what ran so far."""
    return path.read_text().split() if path.exists() else []


def pass_a_second() -> None:
    """Wait as long as the network holds."""
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 1.0)


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    return tmp_path / "ran"


def test_a_client_whose_connection_breaks_again_and_again_gets_everything_once(yard: Yard, ran: Path) -> None:
    """It comes back by itself, and neither jobs nor outcomes are doubled or lost."""
    master = yard.master()
    token = yard.token()
    yard.worker("red", token)
    yard.worker("green", token)
    relay = Relay(ports_of(master)["clients"])
    try:
        script = start(yard, ran, OCTAPI_ADDRESS=f"127.0.0.1:{relay.port}")
        for count in (1, 30, 60, 90):
            until(lambda least=count: len(lines(ran)) >= least)
            relay.cut()
        script.until_says("all 200", 60)
        assert script.wait() == 0
        assert relay.made >= 3
        assert Counter(lines(ran)) == {str(n): 1 for n in range(200)}
    finally:
        relay.close()


def test_a_slow_network_that_breaks_again_and_again_loses_and_doubles_nothing(yard: Yard, ran: Path) -> None:
    """Everything is 300 ms late between the script and its master, and hardly is it through, the connection breaks."""
    master = yard.master()
    ports = ports_of(master)
    token = yard.token()
    yard.worker("red", token)
    relay = Relay(ports["clients"], delay_s=0.3)
    try:
        script = start(yard, ran, OCTAPI_ADDRESS=f"127.0.0.1:{relay.port}")
        until(lambda: len(lines(ran)) >= 5, 60)
        for _ in range(5):
            made = relay.made
            relay.cut()
            until(lambda least=made: relay.made > least, 60)
            pass_a_second()
        script.until_says("all 200", 90)
        assert script.wait() == 0
        assert relay.made >= 6
        assert Counter(lines(ran)) == {str(n): 1 for n in range(200)}
    finally:
        relay.close()


def test_a_master_that_is_killed_and_started_again_costs_no_job(yard: Yard, ran: Path) -> None:
    """Workers outlive it, the client waits aloud, and jobs that must not run twice do not."""
    master = yard.master()
    token = yard.token()
    yard.worker("red", token)
    yard.worker("green", token)
    ports = ports_of(master)
    script = start(yard, ran)
    until(lambda: len(lines(ran)) >= 20)
    master.stop(signal.SIGKILL)
    script.until_says("the master at", 60)
    before = len(lines(ran))
    yard.master(ports=(str(ports["join"]), str(ports["clients"]), str(ports["dask"])))

    said = script.until_says("all 200", 90)
    assert script.wait() == 0
    assert before < 200
    assert "is back; going on" in said
    assert Counter(lines(ran)) == {str(n): 1 for n in range(200)}
