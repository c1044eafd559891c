"""What came of jobs is read as what it is, or refused."""

from typing import Any

import msgpack
import pytest
from hypothesis import given

from octapi.errors import BatchRefused
from octapi.protocol import wire
from octapi.protocol.outcome import Extra
from octapi.protocol.records import outcomes
from tests.protocol.test_checked import ANYTHING


def record(payload: bytes, kind: int = wire.WITH_EXTRA) -> bytes:
    return wire.RECORD.pack(0, kind, len(payload), 1e9, 0.5) + payload


def packed(value: Any) -> bytes:
    data: bytes = msgpack.packb(value)
    return data


@pytest.mark.parametrize(("printed", "text"), [("out", "out"), (b"o\xff", "o\ufffd")])
def test_what_a_job_printed_and_held_comes_with_its_outcome(printed: str | bytes, text: str) -> None:
    """A program's output is bytes, which need not be text."""
    found = list(outcomes(record(packed((b"data", printed, "", 1 << 20))), 1))

    assert found == [(0, 0, b"data", 1e9, 0.5, Extra(printed, "", 1 << 20))]
    assert found[0][5] is not None
    assert found[0][5].texts() == (text, "")


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\xc1", b"\x91" * 2000 + b"\xc0", packed(1), packed([]), packed((b"", "", "")),
        packed((b"", "", "", 1, 1)),
        packed(("", "", "", 1)), packed((b"", 1, "", 1)), packed((b"", "", None, 1)), packed((b"", "", "", "much")),
        packed((b"", "", "", -1)), packed((b"", "", "", 2**64 - 1)), packed((b"", "", "", True)),
        b"\x94\xc4\x00\xa1\xff\xa0\x01", packed({"data": b""}),
    ],
)  # fmt: skip
def test_output_that_is_none_is_refused_by_name(payload: bytes) -> None:
    """It costs the batch whose worker said it, and nothing is given out of it."""
    with pytest.raises(BatchRefused, match="output of a job"):
        list(outcomes(record(payload), 1))


@given(ANYTHING)
def test_output_is_typed_or_refused(value: Any) -> None:
    """Whatever a worker sends in its place."""
    try:
        payload = packed(value)
    except (OverflowError, ValueError):  # what msgpack cannot say, no worker says
        return
    try:
        found = list(outcomes(record(payload), 1))
    except BatchRefused:
        return
    data, extra = found[0][2], found[0][5]
    assert extra is not None
    assert (type(data), type(extra.memory)) == (bytes, int)
    assert {type(extra.stdout), type(extra.stderr)} <= {str, bytes}
