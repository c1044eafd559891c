"""Frames: a message and what it holds beside its head."""

import hypothesis
import msgpack
import pytest
from hypothesis import strategies as st

from octapi.protocol import wire

sizes = st.sampled_from([0, 1, wire.LARGE - 1, wire.LARGE, wire.LARGE + 1, 100_000])
plain = st.one_of(st.none(), st.booleans(), st.integers(-(1 << 40), 1 << 40), st.text(max_size=20))
messages = st.recursive(
    plain | sizes.map(lambda size: wire.blob(b"x" * size)), lambda part: st.lists(part, max_size=4), max_leaves=8
)


@hypothesis.settings(deadline=None)
@hypothesis.given(message=messages)
def test_a_message_is_read_as_it_was_packed(message: object) -> None:
    frame = wire.frame(message)
    whole = bytes(frame)

    assert len(whole) == len(frame) == wire.LENGTH.unpack_from(whole)[0] + wire.LENGTH.size
    assert wire.unpack(whole[wire.LENGTH.size :]) == message


@hypothesis.settings(deadline=None)
@hypothesis.given(message=messages, cut=st.integers(0, 200))
def test_a_frame_that_is_cut_is_no_message(message: object, cut: int) -> None:
    body = wire.pack(message)[wire.LENGTH.size :]
    hypothesis.assume(cut < len(body))

    with pytest.raises(ValueError, match=r".+"):
        wire.unpack(body[:cut])


def test_large_bytes_are_passed_on_as_they_came() -> None:
    first = wire.frame(("run", wire.blob(b"x" * 100_000)))
    word, payload = wire.unpack(bytes(first)[wire.LENGTH.size :])
    second = wire.frame((word, "more", payload))

    assert second.payloads[0] is payload.view
    assert len(second.parts[0]) < 300


def test_large_bytes_begin_where_arrays_may() -> None:
    for filling in range(70):
        head, _ = wire.frame(("x" * filling, wire.blob(b"x" * wire.LARGE))).parts
        assert (len(head) - wire.LENGTH.size) % wire.ALIGNED == 0


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        (1, b""),
        (1, b"\0" * 15),
        (2, wire.PLACE.pack(0, 1)),
        (1, wire.PLACE.pack(0, 11)),
        (1, wire.PLACE.pack(1 << 63, 1 << 63)),
    ],
)
def test_a_payload_that_is_not_there_is_refused(kind: int, place: bytes) -> None:
    head = msgpack.packb(["run", msgpack.ExtType(kind, place)])

    with pytest.raises(ValueError, match="This is no message"):
        wire.unpack(wire.HEAD.pack(len(head), 0) + head + b"0123456789")
