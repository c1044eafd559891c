"""Every border, at random: what comes out is a value of its kind or a refusal by name, and never anything else.

OCTAPI_FUZZ multiplies the number of tries; the usual one is a seed's worth.
"""

import contextlib
import os
import random
from collections.abc import Callable
from typing import Any, get_args

import msgpack
import pytest
from distributed.protocol import Serialize, dumps
from distributed.protocol.serialize import Serialized
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octapi.engine import plain_frames
from octapi.errors import MessageRefused, PeerRefused, RoleRefused
from octapi.page import login
from octapi.protocol import client_messages, wire, worker_messages
from octapi.protocol.checked import json_object
from octapi.telemetry.run_trace import RunTrace
from octapi.trust import control_socket, names, policy
from octapi.trust.address_owners import AddressOwners
from octapi.trust.enrolment_server import REQUEST
from octapi.trust.names import CLIENT, WORKER, Peer
from tests.protocol.test_checked import ANYTHING
from tests.security.dask_side import registration

TIMES = int(os.environ.get("OCTAPI_FUZZ", "1"))
TRIES = settings(max_examples=60 * TIMES, deadline=None, suppress_health_check=list(HealthCheck))

MOLE = Peer("c" * 16, WORKER, "mole", "a" * 16)
ANN = Peer("c" * 16, CLIENT, "ann", "e" * 16)
HELLO: dict[str, Any] = {
    "protocol": 2, "oldest": 2, "release": "1", "name": "mole", "address": "10.9.9.9", "host": "mole", "slots": 1,
    "platform": "Linux", "python": "3.11.7", "memory": 1 << 30, "health": {"cpu": 1.0}, "life": "x", "ssh": {},
    "batches": [["s", 1]], "computations": ["d"], "metrics": {"port": 1},
}  # fmt: skip
#: good messages of each side, of which odd ones are made
OF_WORKERS: list[Any] = [
    ["hello", HELLO], ["health", {"cpu": 1.0}], ["ready", "d"], ["refused", "d", "why"], ["closed", "d"],
    ["begun", ["s", 1], 0], ["results", ["s", 1], b"x"], ["provisional", ["s", 1], 0, b"x"],
    ["file", ["s", 1], 0, "a/b", b"x", 0o644, 1.0], ["cut", ["s", 1], 2], ["end", ["s", 1], "done", 3, {"first": 0}],
    ["dropped", ["s", 1], "dropped", 3, {}], ["replaying", ["s", 1]],
]  # fmt: skip
OF_CLIENTS: list[Any] = [
    ["bye"], ["seen", 1], ["summary", {"waiting": 1, "functions": ["f"]}], ["define", "d", b"", {"limits": {"red": 1}}],
    ["run", 1, 1, "d", {"jobs": 1, "data": b"", "form": "jobs"}], ["tell", None, ["stop", 1, 1.0]],
    ["tell", "red", ["forget", "d"]], ["claim", {"red": "x"}, [[1, "d", {"jobs": 1}, 0, None]]], ["jobs"], ["nodes"],
    ["runs", 5], ["manage", {"op": "log", "run": "x", "offset": 0}], ["watch", True], ["stop_job", 1, 1], ["stop", 1],
    ["fetch", {"run": "x"}], ["settled"], ["drain", "red", True], ["metrics"],
]  # fmt: skip


def told_story() -> dict[str, Any]:
    made = RunTrace(1e9)
    made.took("red", "f", 1e9, 1e9 + 1, 1, 0, 1.0)
    made.piece(1e9, 1.0, "red", "f", "ok")
    made.cause("key")
    made.printed("red", "f", "words", "out")
    return made.plain()


def all_of(message: Any) -> None:
    """Read a worker's message to its end."""
    found = worker_messages.said(message)
    if isinstance(found, get_args(worker_messages.OfBatch)):
        worker_messages.check_places(found, 3)


def dask_message(message: Any) -> None:
    """Read a message of Dask as the scheduler does."""
    frames = [bytes(frame) for frame in dumps({"op": "log-event", "x": message})]
    found, _ = plain_frames.loads_plain(frames)
    plain_frames.PLAIN(found)


BORDERS: list[tuple[Callable[[Any], Any], list[Any]]] = [
    (all_of, OF_WORKERS),
    (client_messages.said, OF_CLIENTS),
    (client_messages.greeting, [["hello", {"protocol": 2, "oldest": 2, "script": "x", "token": "t", "seen": 0}]]),
    (client_messages.STORY, [told_story()]),
    (client_messages.question, [{"op": "submit", "script": "x"}, {"op": "stop", "run": "x"}]),
    (REQUEST, [{"op": "join", "secret": b"x"}]),
    (control_socket.REQUEST, [{"op": "token-create", "uses": 1, "life_s": 1.0}]),
    (lambda m: AddressOwners().check(MOLE, m, is_stream=False), [registration("mole", "octapi://h:1")]),
    (lambda m: policy.check("scheduler", MOLE, m, is_stream=True), [{"op": "task-finished"}]),
    (lambda m: AddressOwners().check(ANN, m, is_stream=True), [{"op": "heartbeat-client", "client": "c"}]),
]


def changed(value: Any, chance: random.Random, odd: Any) -> Any:
    """Return a value with one part of it, wherever it lies, put into the place of another or left out."""
    if chance.random() < 0.2 or not isinstance(value, (list, dict)) or not value:
        return odd
    if isinstance(value, list):
        place = chance.randrange(len(value))
        rest = [] if chance.random() < 0.1 else [changed(value[place], chance, odd)]
        return [*value[:place], *rest, *value[place + 1 :]]
    key = chance.choice(list(value))
    found = {name: part for name, part in value.items() if name != key}
    where = chance.random()
    return (
        found
        if where < 0.1
        else found | {odd if where < 0.2 and is_key(odd) else key: changed(value[key], chance, odd)}
    )


def is_key(value: Any) -> bool:
    return isinstance(value, (str, bytes, int))


@TRIES
@pytest.mark.parametrize("border", range(len(BORDERS)))
@given(odd=ANYTHING, seed=st.integers(0, 1 << 30))
def test_a_good_message_with_an_odd_part_is_read_or_refused(border: int, odd: Any, seed: int) -> None:
    """Never with another error than that of a refusal."""
    read, good = BORDERS[border]
    chance = random.Random(seed)
    message = changed(chance.choice(good), chance, odd)
    if border >= 7 and not isinstance(message, dict):
        return  # Dask's requests are tables before they come here
    said = ""
    try:
        read(message)
    except (MessageRefused, RoleRefused, PeerRefused) as refusal:
        said = str(refusal)
    assert not said or said.isprintable()


@pytest.mark.parametrize("border", range(len(BORDERS)))
def test_the_good_messages_are_good(border: int) -> None:
    """Or else the odd ones would show nothing."""
    read, good = BORDERS[border]
    for message in good:
        read(message)


@TRIES
@given(seed=st.integers(0, 1 << 30), data=st.binary(max_size=12))
def test_bytes_that_were_changed_on_their_way_are_read_or_refused(seed: int, data: bytes) -> None:
    """As gateway, door and scheduler read them."""
    chance = random.Random(seed)
    body = bytearray(msgpack.packb(chance.choice(OF_WORKERS + OF_CLIENTS)))
    for byte in data:
        body[chance.randrange(len(body))] = byte
    for read in (all_of, client_messages.said):
        with contextlib.suppress(ValueError, MessageRefused):
            read(wire.unpack(bytes(body)))


@TRIES
@given(seed=st.integers(0, 1 << 30), data=st.binary(max_size=12), holds=st.booleans())
def test_frames_of_dask_that_were_changed_are_read_or_refused(seed: int, data: bytes, holds: bool) -> None:
    """Nothing in them is unpickled."""
    chance = random.Random(seed)
    told = registration("mole", "octapi://h:1") | ({"extra": Serialize([1, 2])} if holds else {})
    frames = [bytearray(bytes(frame)) for frame in dumps(told)]
    for byte in data:
        frame = chance.choice([frame for frame in frames if frame])
        frame[chance.randrange(len(frame))] = byte
    try:
        found, _ = plain_frames.loads_plain([bytes(frame) for frame in frames])
        plain_frames.PLAIN(found)
        AddressOwners().check(MOLE, found if isinstance(found, dict) else {}, is_stream=False)
    except (RoleRefused, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError):
        pass  # each of these ends the connection, and is logged


@TRIES
@given(host=st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("latin-1")))
def test_a_host_or_an_origin_of_a_request_is_own_or_not(host: str) -> None:
    """Whatever stands there."""
    assert login.is_own_name(host, ["own"]) in (True, False)
    login.is_forged({"x-octapi": "1", "origin": host}, host)


@TRIES
@given(data=st.binary(max_size=80))
def test_lines_between_processes_are_objects_or_refused(data: bytes) -> None:
    """And names are names, or refused."""
    for read in (json_object, lambda part: names.check_new_name(part.decode("latin-1"))):
        with contextlib.suppress(MessageRefused, names.TrustError):
            read(data)


def test_what_is_serialized_stays_so() -> None:
    """The reader knows that there is more to open."""
    frames = [bytes(frame) for frame in dumps({"op": "x", "data": Serialize(len)})]

    found, holds_more = plain_frames.loads_plain(frames)

    assert holds_more
    assert isinstance(found["data"], Serialized)
