"""Kinds of messages: each is declared once, read by its fields, described on a page, and answered by somebody."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octapi.engine.dask_comm import pieces
from octapi.errors import MessageRefused
from octapi.protocol import client_messages, describe, orders, replies, wire, worker_messages
from octapi.protocol.messages import Channel, kinds, parse, plain, readers
from octapi.protocol.worker_messages import LASTING
from tests.faults.simulation import World
from tests.protocol.test_checked import ANYTHING

PAGE = Path(__file__).parents[2] / "docs/explanation/protocols.md"
#: one message of each kind that a stranger may send, as it goes over the wire
OF_CLIENTS: list[NamedTuple] = [
    client_messages.Bye(), client_messages.Seen(1), client_messages.Summary({"done": 1}),
    client_messages.Define("d", b"", {"limits": {"w": 1}}),
    client_messages.Run(1, 1, "d", {"form": "jobs", "data": b"", "jobs": 1}),
    client_messages.Tell(None, ["recall", 1]), client_messages.Claim({"w": "x"}, []), client_messages.Jobs(),
    client_messages.Nodes(), client_messages.Runs(3), client_messages.Manage({}), client_messages.Watch(wanted=True),
    client_messages.StopJob(1, 2), client_messages.Stop(1), client_messages.Fetch({"run": "x"}),
    client_messages.Settled(), client_messages.Drain("w", is_on=True), client_messages.Metrics(),
    client_messages.Courses(["w"]),
]  # fmt: skip
KEY = ("session", 1)
OF_WORKERS: list[NamedTuple] = [
    worker_messages.Health({"cpu": 1.0}), worker_messages.Ready("d"), worker_messages.Closed("d"),
    worker_messages.Refused("d", "no"), worker_messages.Begun(KEY, 0), worker_messages.Results(KEY, b""),
    worker_messages.Provisional(KEY, 0, b""), worker_messages.SentFile(KEY, 0, "a/b", b"", 0o600, 1.0),
    worker_messages.Cut(KEY, 1), worker_messages.End(KEY, "done", 1, {}),
    worker_messages.Dropped(KEY, "dropped", 1, {}), worker_messages.Replaying(KEY),
]  # fmt: skip


def over_the_wire(message: NamedTuple) -> Any:
    return wire.unpack(wire.pack(plain(message))[wire.LENGTH.size :])


@pytest.mark.parametrize(("channel", "messages"), [(Channel.CLIENT, OF_CLIENTS), (Channel.WORKER, OF_WORKERS)])
def test_a_message_is_the_same_on_the_other_side(channel: Channel, messages: list[NamedTuple]) -> None:
    for message in messages:
        found = parse(channel, over_the_wire(message))
        assert (type(found), found) == (type(message), message)
    assert {type(message) for message in messages} | {worker_messages.Hello} >= {k.cls for k in kinds(channel).values()}


def test_a_field_that_may_be_missing_has_its_default() -> None:
    assert parse(Channel.CLIENT, ["runs"]) == client_messages.Runs(100)


@pytest.mark.parametrize(
    "said",
    [
        None,
        1,
        [],
        [1],
        ["no such word"],
        ["seen"],
        ["seen", -1],
        ["seen", 1, 2],
        ["seen", True],
        {"seen": 1},
        ["__init__"],
    ],
)
def test_what_is_no_message_is_refused_by_name(said: Any) -> None:
    with pytest.raises(MessageRefused):
        parse(Channel.CLIENT, said)


@given(st.sampled_from(OF_CLIENTS + OF_WORKERS), st.data())
def test_a_wrong_field_makes_no_message(message: NamedTuple, data: st.DataObject) -> None:
    """Whatever stands in a field: the message or that field is refused, or every field passes its reader once more."""
    channel = Channel.CLIENT if message in OF_CLIENTS else Channel.WORKER
    said = list(over_the_wire(message))
    place = data.draw(st.integers(0, len(said) - 1))
    said[place] = data.draw(ANYTHING)
    try:
        found = parse(channel, said)
    except MessageRefused:
        return
    if any(isinstance(value, MessageRefused) for value in found):
        return
    again = [read(value) for read, value in zip(readers(type(found)), found, strict=True)]
    assert repr(again) == repr(list(found))


def test_large_messages_of_a_worker_go_in_pieces_in_their_order() -> None:
    """So that each is as long as the master reads, whatever waited to be sent."""
    messages = [
        {"op": "octapi", "body": bytes(size << 20), "number": n} for n, size in enumerate((1, 20, 20, 40, 1, 1))
    ]
    found = pieces([*messages, "OK"])

    assert [part for piece in found for part in piece] == [*messages, "OK"]
    assert [[part["number"] for part in piece if part != "OK"] for piece in found] == [[0, 1], [2], [3], [4, 5]]
    assert pieces(messages[:1]) == [messages[:1]]
    assert pieces({"op": "x"}) == [{"op": "x"}]


def test_a_batch_that_is_refused_does_not_refuse_its_message() -> None:
    """The refusal stands in its place, with the field's name, and whoever takes the message ends that batch."""
    spec = {"form": "jobs", "data": b"", "jobs": 1}
    for wrong in ({"jobs": "many"}, {"jobs": 1 << 40}, {"timeout_s": 0}, {"skip": 2}, {"extra": [b"", [1]]}):
        found = parse(Channel.CLIENT, ["run", 1, 1, "d", spec | wrong])
        assert isinstance(found.spec, MessageRefused)
        assert next(iter(wrong)) in str(found.spec)
    assert isinstance(parse(Channel.CLIENT, ["run", 1, 1, "d", spec | {"gone": True}]).spec, MessageRefused)
    assert parse(Channel.CLIENT, ["run", 1, 1, "d", spec | {"of a later release": 1}]).spec["of a later release"] == 1


def test_every_kind_of_a_client_and_of_a_worker_is_answered_by_somebody() -> None:
    world = World()
    try:
        assert set(world.gateway.requests._handlers) == {kind.cls for kind in kinds(Channel.CLIENT).values()}
        of_workers = {kind.cls for kind in kinds(Channel.WORKER).values()} - {worker_messages.Hello}
        assert set(world.gateway.reports._handlers) == of_workers
    finally:
        world.close()


def test_what_a_master_says_that_is_no_message_is_said_and_the_next_ones_are_heard(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It ends neither the connection nor the jobs: only a refusal of the master does."""
    world = World()
    try:
        for said in (["pace"], ["pace", 0.25]):
            world.loop.do(world.link.take, wire.pack(said)[wire.LENGTH.size :])
        assert world.core.pace_s == 0.25
    finally:
        world.close()
    assert "a message of the master" in capsys.readouterr().err


def test_the_page_of_protocols_is_what_the_classes_say() -> None:
    assert PAGE.read_text() == describe.text(), "python -m octapi.protocol.describe docs/explanation/protocols.md"


def test_what_must_arrive_of_a_worker_is_what_is_kept_for_its_client() -> None:
    assert set(LASTING) == {kind.cls for kind in kinds(Channel.WORKER).values() if kind.must_arrive}
    assert kinds(Channel.TO_CLIENT)["agent"].must_arrive


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        (Channel.TO_CLIENT, replies.Stop()), (Channel.TO_CLIENT, replies.Others(2, {7: "red"})),
        (Channel.TO_CLIENT, replies.Complete()), (Channel.TO_WORKER, orders.Kill("session")),
        (Channel.TO_WORKER, orders.Cancel(KEY, 3, 0.5)), (Channel.TO_WORKER, orders.Run(KEY, "s", "d", {"jobs": 1})),
    ],
)  # fmt: skip
def test_what_a_master_says_is_the_same_on_the_other_side(channel: Channel, message: NamedTuple) -> None:
    found = parse(channel, over_the_wire(message))
    assert (type(found), found) == (type(message), message)
