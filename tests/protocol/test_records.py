"""What came of jobs is read as what it is, or refused."""

from typing import Any

import msgpack
import pytest
from hypothesis import given

from octapi.errors import BatchRefused
from octapi.protocol import wire
from octapi.protocol.outcome import Extra
from octapi.protocol.records import outcomes, pack_extra
from tests.protocol.test_checked import ANYTHING


def record(payload: bytes, kind: int = wire.WITH_EXTRA) -> bytes:
    return wire.RECORD.pack(0, kind, len(payload), 1e9, 0.5) + payload


def before(extra: bytes) -> bytes:
    """Return what stands before the data of a record, whatever it says."""
    return wire.EXTRA.pack(len(extra), 0) + extra


def packed(value: Any) -> bytes:
    data: bytes = msgpack.packb(value)
    return data


@pytest.mark.parametrize(("printed", "text"), [("out", "out"), (b"o\xff", "o\ufffd")])
def test_what_a_job_printed_and_held_comes_with_its_outcome(printed: str | bytes, text: str) -> None:
    """A program's output is bytes, which need not be text."""
    found = list(outcomes(record(pack_extra(Extra(printed, "", 1 << 20), 4) + b"data"), 1))

    assert found == [(0, 0, b"data", 1e9, 0.5, Extra(printed, "", 1 << 20))]
    assert found[0][5] is not None
    assert found[0][5].texts() == (text, "")


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\xff" * 20, before(b"\xc1"), before(b"\x91" * 2000 + b"\xc0"), before(packed(1)), before(packed([])),
        before(packed(("", ""))), before(packed(("", "", 1, 1))), before(packed((1, "", 1))),
        before(packed((b"", None, 1))),
        before(packed(("", "", "much"))), before(packed(("", "", -1))), before(packed(("", "", 2**64 - 1))),
        before(packed(("", "", True))), before(b"\x93\xa1\xff\xa0\x01"), before(packed({"stdout": ""})),
    ],
)  # fmt: skip
def test_output_that_is_none_is_refused_by_name(payload: bytes) -> None:
    """It costs the batch whose worker said it, and nothing is given out of it."""
    with pytest.raises(BatchRefused, match="what a job left"):
        list(outcomes(record(payload), 1))


@given(ANYTHING)
def test_output_is_typed_or_refused(value: Any) -> None:
    """Whatever a worker sends in its place."""
    try:
        payload = before(packed(value)) + b"data"
    except (OverflowError, ValueError):  # what msgpack cannot say, no worker says
        return
    try:
        found = list(outcomes(record(payload), 1))
    except BatchRefused:
        return
    data, extra = found[0][2], found[0][5]
    assert extra is not None
    assert (data, type(extra.memory)) == (b"data", int)
    assert {type(extra.stdout), type(extra.stderr)} <= {str, bytes}
