"""Metrics: the text, the counts, the sensors, and the door that gives them out."""

import asyncio
import json
import socket
import ssl
from pathlib import Path

import pytest

from octapi.protocol.small_http import Answer
from octapi.telemetry import exporter as scrapes
from octapi.telemetry import exposition
from octapi.telemetry.counters import CAUSES, JobCounters
from octapi.trust import metrics_token
from tests.harness import Running, Yard, until


def test_a_label_with_quotes_and_line_breaks_stays_one_label() -> None:
    """Names of devices cannot break the format."""
    family = exposition.Family("octapi_x", exposition.GAUGE, "A test.", [({"worker": 'a"b\\c\nd'}, 1.5)])
    expected = '# HELP octapi_x A test.\n# TYPE octapi_x gauge\noctapi_x{worker="a\\"b\\\\c\\nd"} 1.5\n'
    assert exposition.text([family]) == expected


def test_what_is_not_known_is_not_told() -> None:
    """A device without sensors has no temperature, rather than one of zero."""
    assert exposition.text([exposition.one("octapi_x", exposition.GAUGE, "A test.", None)]) == ""


def test_a_batch_that_ends_is_counted_once_for_each_of_its_jobs() -> None:
    """Jobs that returned, that failed, and the one that was killed are three counts."""
    tally = JobCounters()
    tally.end("died", 10, {"first": 2, "failed": 3, "why": "timeout"})
    tally.end("done", 5, {})
    tally.end("dropped", 1, {"why": "dropped", "ran_s": 0.5})
    tally.end("dropped", 0, {"why": "dropped", "ran_s": 0.0})
    assert (tally.done, tally.failed) == (11, 3)
    assert (tally.killed["timeout"], tally.killed["dropped"]) == (1, 1)


@pytest.mark.parametrize(
    ("info", "cause"),
    [
        ({"why": "timeout"}, "timeout"),
        ({"why": "", "out_of_memory": True, "signal": 9}, "memory"),
        ({"why": "", "signal": 11}, "signal"),
        ({"why": "", "signal": None, "exit_code": 3}, "exit"),
        ({"why": ["nonsense"]}, "exit"),
    ],
)
def test_every_death_has_a_cause_of_the_known_ones(info: dict[str, object], cause: str) -> None:
    """A worker cannot make up labels."""
    tally = JobCounters()
    tally.end("died", 0, info)
    assert tally.killed[cause] == 1
    assert set(tally.killed) == set(CAUSES)


@pytest.mark.parametrize("failed", [-5, 10**9, "many", None])
def test_a_worker_cannot_make_counts_run_backwards(failed: object) -> None:
    """Numbers that make no sense count as none, or as all jobs of the batch at most."""
    tally = JobCounters()
    tally.end("done", 4, {"failed": failed})
    assert tally.done >= 0
    assert tally.done + tally.failed == 4


def test_workers_with_a_door_are_found_and_those_with_nonsense_are_left_out() -> None:
    """Discovery believes ports only, and knows IPv6."""
    rows = [
        {"name": "a", "slots": 2, "address": "10.0.0.1", "metrics": {"port": 8791, "host": "", "node": True}},
        {"name": "b", "slots": 2, "address": "fe80::1", "metrics": {"port": 8791, "host": ""}},
        {"name": "c", "slots": 2, "address": "10.0.0.3", "metrics": {"port": "8791"}},
        {"name": "d", "slots": 2, "address": "10.0.0.4", "metrics": None},
        {"name": "e", "slots": 2, "address": "10.0.0.5"},
    ]
    found = exposition.discovery(rows)
    told = [(row["targets"], row["labels"]["worker"], row["labels"]["__metrics_path__"]) for row in found]
    assert told == [
        (["10.0.0.1:8791"], "a", "/metrics"),
        (["10.0.0.1:8791"], "a", "/node"),
        (["[fe80::1]:8791"], "b", "/metrics"),
    ]


def test_only_the_whole_token_opens_the_door() -> None:
    """An empty key matches nothing, and the digest is not the token."""
    key = metrics_token.key_of("secret")
    assert metrics_token.matches("Bearer secret", key)
    for wrong in ("", "Bearer", "Bearer ", "Bearer secre", "Basic secret", "secret", f"Bearer {key}"):
        assert not metrics_token.matches(wrong, key)
    assert not metrics_token.matches("Bearer ", "")
    assert not metrics_token.matches("Bearer secret", "")


# ---- a real master and a real worker


def door_of(running: Running) -> int:
    """Return the port of a master's door for metrics."""
    return int(running.until_says("metrics at port ").split("metrics at port ")[1].split(",")[0])


def ask(port: int, name: str, authorities: Path, request: bytes) -> tuple[int, str]:
    """Send a request as a monitoring system does, and return status and body."""
    context = ssl.create_default_context(cafile=str(authorities))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=name) as sock,
    ):
        sock.sendall(request)
        answer = b""
        while part := sock.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def get(path: str, token: str = "") -> bytes:
    """Write a request."""
    shown = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{shown}\r\n".encode()


def access(yard: Yard, *arguments: str) -> tuple[str, Path]:
    """Get the token and the authority's certificates, as a person does."""
    yard.command(
        "master", "token", "metrics", "--file", str(yard.place / "t"), "--ca-file", str(yard.place / "ca"), *arguments
    )
    assert (yard.place / "t").stat().st_mode & 0o777 == 0o600
    return (yard.place / "t").read_text().strip(), yard.place / "ca"


def values(text: str) -> dict[str, float]:
    """Read metrics."""
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


MIXED = """
import octapi

def job(n):
    import os, signal
    if n == 1:
        raise ValueError("one")
    if n == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    return n

with octapi.Cluster() as cluster:
    jobs = [cluster.submit(job, n) for n in range(5)]
    print(sum(job.exception() is None for job in jobs))
"""


def test_master_and_worker_count_what_became_of_jobs(yard: Yard) -> None:
    """Three jobs return, one raises, one dies: both tell it, to whoever has the token and checks the certificate."""
    master = yard.master("--metrics", "127.0.0.1:0")
    yard.worker("w1", yard.token(), "--metrics", "127.0.0.1:0")
    token, authorities = access(yard)
    port = door_of(master)
    assert yard.run("master", MIXED).split()[-1] == "3"

    status, body = ask(port, "master.octapi", authorities, get("/discovery", token))
    assert status == 200
    ((target,), labels) = (json.loads(body)[0][key] for key in ("targets", "labels"))
    assert labels["worker"] == "w1"
    worker_port = int(target.rpartition(":")[2])

    def told() -> dict[str, float]:
        found = {}
        for at, name in ((port, "master.octapi"), (worker_port, "worker.octapi")):
            status, body = ask(at, name, authorities, get("/metrics", token))
            assert status == 200, body
            found |= values(body)
        return found

    def has_ended() -> bool:
        found = told()
        return all(found[f"{prefix}_jobs_done_total"] == 3 for prefix in ("octapi", "octapi_worker"))

    until(has_ended)  # the script has its results before the end of their batch is told
    found = told()
    for prefix in ("octapi", "octapi_worker"):
        assert found[f"{prefix}_jobs_failed_total"] == 1
        assert found[f'{prefix}_jobs_killed_total{{cause="signal"}}'] == 1
    assert found["octapi_workers"] == found["octapi_slots"] == found["octapi_worker_slots"] == 1
    assert found["octapi_worker_connected"] == 1
    assert found["octapi_batches_total"] >= 1
    assert found["octapi_argument_bytes_total"] > 0
    assert found["octapi_result_bytes_total"] > 0
    assert found["octapi_worker_memory_free_bytes"] > 0
    assert 'octapi_certificate_end_seconds{role="worker",name="w1"}' in found


def test_the_door_is_closed_to_all_who_do_not_show_the_token(yard: Yard) -> None:
    """No path is told without it; another path, another method and a flood of bytes get an error each."""
    master = yard.master("--metrics", "127.0.0.1:0")
    port = door_of(master)
    token, authorities = access(yard)
    for path in ("/metrics", "/discovery", "/nothing"):
        assert ask(port, "master.octapi", authorities, get(path))[0] == 401
        assert ask(port, "master.octapi", authorities, get(path, token + "x"))[0] == 401
    assert ask(port, "master.octapi", authorities, get("/nothing", token))[0] == 404
    assert ask(port, "master.octapi", authorities, get("/metrics", token).replace(b"GET", b"POST"))[0] == 405
    assert ask(port, "master.octapi", authorities, b"nonsense\r\n\r\n")[0] == 400
    master.until_says("metrics: refused 127.0.0.1, which did not show the token")
    with pytest.raises((OSError, IndexError)):
        ask(port, "master.octapi", authorities, b"GET /" + b"x" * 100_000)
    with pytest.raises(ssl.SSLCertVerificationError):  # a worker's name is not the master's
        ask(port, "worker.octapi", authorities, get("/metrics", token))
    assert ask(port, "master.octapi", authorities, get("/metrics", token))[0] == 200


def test_a_new_token_ends_the_old_one_at_master_and_worker(yard: Yard) -> None:
    """Workers hear of it over the cluster's own connection."""
    master = yard.master("--metrics", "127.0.0.1:0")
    yard.worker("w1", yard.token(), "--metrics", "127.0.0.1:0")
    old, authorities = access(yard)
    port = door_of(master)
    (found,) = json.loads(ask(port, "master.octapi", authorities, get("/discovery", old))[1])
    doors = (port, "master.octapi"), (int(found["targets"][0].rpartition(":")[2]), "worker.octapi")
    new, _ = access(yard, "--new")
    assert new != old
    for at, name in doors:
        until(lambda at=at, name=name: ask(at, name, authorities, get("/metrics", new))[0] == 200)
        assert ask(at, name, authorities, get("/metrics", old))[0] == 401


def test_removing_a_worker_renews_the_token_that_is_shared(yard: Yard) -> None:
    """A removed worker has seen the token; a Prometheus beside the master reads the new one from its directory."""
    place = yard.place / "monitoring"
    master = yard.master("--metrics", "127.0.0.1:0", "--metrics-share", str(place))
    door_of(master)
    worker = yard.worker("w1", yard.token())
    old = (place / "token").read_text()
    assert "BEGIN CERTIFICATE" in (place / "ca.pem").read_text()
    yard.command("master", "nodes", "remove", "w1")
    until(lambda: (place / "token").read_text() != old)
    worker.wait()


def test_a_place_that_cannot_be_is_refused_before_anything_starts(yard: Yard) -> None:
    """The message says which option, and what to write."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        said = yard.command("m", "master", "--listen", "127.0.0.1", "--metrics", where, code=1)
    assert f"Metrics cannot be served at {where}" in said
    assert "is not HOST:PORT" in yard.command("m", "master", "--metrics", "8790", code=1)
    assert "--insecure has none" in yard.command("n", "master", "--insecure", "--metrics", "127.0.0.1:0", code=1)


async def exporter(answer: bytes) -> tuple[asyncio.Server, tuple[str, int]]:
    """Start something that answers as a node_exporter might."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    return server, (host, port)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nnode_load1 1\n", 200),
        (b"HTTP/1.0 500 No\r\n\r\n", 502),
        (b"", 502),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * (scrapes.NODE_LIMIT + 1), 502),
    ],
)
def test_a_node_exporter_that_makes_no_sense_is_a_bad_gateway(answer: bytes, status: int) -> None:
    """The worker passes on what fits, and says what is wrong otherwise."""

    async def main() -> Answer:
        server, where = await exporter(answer)
        async with server:
            return await scrapes.node(where)

    found = asyncio.run(main())
    assert found.status == status
    assert found.body == b"node_load1 1\n" if status == 200 else b"does not answer" in found.body
