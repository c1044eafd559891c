"""Separate hosts, made with network namespaces: finding the master by multicast, and a master that moves."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator

import pytest

from octapi.trust.token import Token, parse
from tests.harness import Running, Yard, ports_of
from tests.netns import Room

if os.geteuid() or not shutil.which("ip"):
    assert not os.environ.get("CI"), "CI must run as root and have iproute2"
    pytest.skip("network namespaces need root and the package iproute2", allow_module_level=True)


@pytest.fixture
def room(yard: Yard) -> Iterator[Room]:
    found = Room()
    yield found
    yard.close()
    found.close()


def lost(token: str) -> str:
    """Return a token whose addresses lead nowhere, as one that was made before the master moved."""
    found = parse(token)
    return Token(found.pin, found.ident, found.secret, ("10.99.0.250:8785",)).text()


ALL = ("--listen", "0.0.0.0")
RUN = """
import octapi
def work(n):
    import time
    time.sleep(0.3)
    return n
with octapi.Cluster() as cluster:
    jobs = [cluster.options(retries=0).submit(work, n) for n in range(30)]
    jobs[2].result()
    print("under way", flush=True)
    print("all", len({job.result() for job in jobs}))
"""


def test_the_master_is_found_by_multicast_and_two_clusters_in_one_room_do_not_mix(yard: Yard, room: Room) -> None:
    """By the cluster's identity, not by who answers first; and never under the address of a container bridge."""
    first, second, third = (room.host(name, f"10.99.0.{number}") for number, name in enumerate("abc", 1))
    room.inside("a", "link", "add", "docker0", "type", "bridge")
    room.inside("a", "address", "add", "172.17.0.1/16", "dev", "docker0")
    room.inside("a", "link", "set", "docker0", "up")
    master = yard.master(*ALL, "--name", "one", prefix=first)
    yard.master(*ALL, "--name", "two", home="other", prefix=second)
    assert "172.17.0.1" not in master.text()
    token = yard.token()
    assert parse(token).addresses == (f"10.99.0.1:{ports_of(master)['join']}",)

    worker = yard.worker("red", lost(token), prefix=third)
    assert "joined the cluster 'one'" in worker.text()
    said = yard.command("master", "nodes", prefix=first)
    assert "red" in said
    assert "10.99.0.3" in said
    assert "red" not in yard.command("other", "nodes", prefix=second)


def test_a_master_with_a_new_address_is_found_again(yard: Yard, room: Room) -> None:
    """Its router gave it another; workers and logins go on without being told."""
    first, second = room.host("a", "10.99.0.1"), room.host("b", "10.99.0.2")
    master = yard.master(*ALL, prefix=first)
    worker = yard.worker("red", yard.token(), prefix=second)
    yard.command("laptop", "login", yard.token("--role", "client"), prefix=second)
    room.inside("a", "address", "del", "10.99.0.1/24", "dev", "eth0")
    room.inside("a", "address", "add", "10.99.0.77/24", "dev", "eth0")
    room.inside("a", "route", "replace", "default", "dev", "eth0")

    worker.until_says("looking for it again", 60)
    worker.until_says("red works for", 60, times=2)
    assert "10.99.0.77" in worker.text()
    code = (
        "import octapi\nwith octapi.Cluster() as c:\n    job = c.submit(abs, -7)\n    print(job.result(), job.worker)"
    )
    first_time = yard.run("laptop", code, prefix=second)
    assert first_time.splitlines()[-1] == "7 red"
    assert "looking in the network" in first_time
    assert "looking in the network" not in yard.run("laptop", code, prefix=second)
    assert master.process.poll() is None


def test_a_master_that_is_killed_and_comes_back_at_another_address_during_a_run_costs_no_job(
    yard: Yard, room: Room
) -> None:
    """Script and worker look for it in the network, and jobs that must not run twice go on where they are."""
    first, second = room.host("a", "10.99.0.1"), room.host("b", "10.99.0.2")
    master = yard.master(*ALL, prefix=first)
    ports = ports_of(master)
    yard.worker("red", yard.token(), prefix=second)
    yard.command("laptop", "login", yard.token("--role", "client"), prefix=second)
    script = Running([*second, sys.executable, "-c", RUN], yard.home("laptop"))
    yard.running.append(script)
    script.until_says("under way", 60)
    master.stop(signal.SIGKILL)
    room.inside("a", "address", "del", "10.99.0.1/24", "dev", "eth0")
    room.inside("a", "address", "add", "10.99.0.77/24", "dev", "eth0")
    room.inside("a", "route", "replace", "default", "dev", "eth0")
    yard.master(*ALL, prefix=first, ports=(str(ports["join"]), str(ports["clients"]), str(ports["dask"])))

    said = script.until_says("all 30", 120)
    assert script.wait() == 0
    assert "10.99.0.77" in said


def test_doctor_tells_a_closed_port_from_a_host_that_is_not_there(yard: Yard, room: Room) -> None:
    """And finds the master that moved."""
    first, second = room.host("a", "10.99.0.1"), room.host("b", "10.99.0.2")
    yard.master(*ALL, "--name", "one", prefix=first)
    token = yard.token()

    said = yard.command("new", "doctor", "-", input=lost(token), prefix=second, code=1)
    assert "10.99.0.250" in said
    assert "one" in said
    mine = parse(token)
    closed = Token(mine.pin, mine.ident, mine.secret, ("10.99.0.1:9",)).text()
    said = yard.command("new", "doctor", "-", input=closed, prefix=second, code=1)
    assert "nothing listens at 10.99.0.1:9" in said


BRIDGED = {"OCTAPI_BRIDGED": "1"}
FROM_WORKER = (
    "import octapi\nwith octapi.Cluster() as c:\n    job = c.submit(abs, -7)\n    print(job.result(), job.worker)"
)


def test_a_master_whose_only_address_is_bridged_joins_its_own_computer_and_says_what_others_can_do(
    yard: Yard, room: Room
) -> None:
    """As in a container, a cloud shell or a CI runner: README and tutorial work there as they stand."""
    first, beside = room.host("a", "10.99.0.1"), room.host("b", "10.99.0.2")
    master = yard.master(*ALL, prefix=first, env=BRIDGED)
    port = ports_of(master)["join"]
    assert master.text().count("--advertise ADDRESS") == 1
    token = yard.token(env=BRIDGED, prefix=first)
    assert parse(token).addresses == (f"10.99.0.1:{port}", f"127.0.0.1:{port}")
    code = f"from octapi.cli import trust\nprint(trust.line_for({token!r}, 'worker'))"
    assert "Give --address HOST:PORT" in yard.run("master", code, exit_code=1, prefix=first, env=BRIDGED)

    yard.worker("red", token, prefix=first, env=BRIDGED)
    yard.command("laptop", "login", yard.token("--role", "client", env=BRIDGED, prefix=first), prefix=first)
    for home in ("master", "laptop"):
        assert yard.run(home, FROM_WORKER, prefix=first, env=BRIDGED).splitlines()[-1] == "7 red"
    yard.worker("blue", token, prefix=beside, env=BRIDGED)


def test_members_on_the_masters_own_computer_find_it_without_any_network(yard: Yard, room: Room) -> None:
    """The cable is pulled, or the token was made elsewhere: loopback, and what the master's socket says, are enough."""
    first = room.host("a", "10.99.0.1")
    master = yard.master(*ALL, prefix=first)
    worker = yard.worker("red", lost(yard.token()), prefix=first)
    yard.command("laptop", "login", lost(yard.token("--role", "client")), prefix=first)
    room.inside("a", "address", "del", "10.99.0.1/24", "dev", "eth0")
    room.inside("a", "link", "set", "eth0", "down")

    worker.until_says("looking for it again", 60)
    worker.until_says("red works for", 60, times=2)
    assert "at 127.0.0.1:" in worker.text()
    for home in ("master", "laptop"):
        assert yard.run(home, FROM_WORKER, prefix=first).splitlines()[-1] == "7 red"
    assert master.process.poll() is None


def test_a_token_of_a_bridged_master_says_elsewhere_what_it_lacks(yard: Yard, room: Room) -> None:
    """Not that nobody answers at 127.0.0.1, which is another computer's."""
    place = room.host("a", "10.99.0.1")
    token = Token(b"x" * 32, "abcdef", b"y" * 16, ("127.0.0.1:8785",)).text()
    said = yard.start_worker("red", token, prefix=place)
    assert said.wait() == 1
    assert "--advertise" in said.text()
