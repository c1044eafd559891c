"""Large buffers beside a pickle come back as what they were, in memory of their own."""

import pickle
import random
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from octapi.pickling import buffers, dumps_call, dumps_result, loads, loads_result

#: around the length from which buffers lie beside the pickle
SIZES = st.sampled_from([0, 1, 7, buffers.LARGE - 1, buffers.LARGE, buffers.LARGE + 1, 3 * buffers.LARGE + 5])


def filled(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def array_of(size: int, kind: str, layout: str) -> Any:
    found = np.frombuffer(filled(size - size % 8), dtype=kind).copy()
    if layout == "strided":  # numpy itself gives these back in the order of this computer's bytes
        return found.astype(found.dtype.newbyteorder("="))[::2]
    if layout == "fortran":
        return np.asfortranarray(found[: len(found) // 4 * 4].reshape(4, -1))
    if layout == "frozen":
        found.setflags(write=False)
    return found


arrays = st.builds(
    array_of,
    SIZES,
    st.sampled_from(["u1", "<i4", ">i8", "<c8"]),
    st.sampled_from(["plain", "strided", "fortran", "frozen"]),
)
plain = st.one_of(SIZES.map(filled), SIZES.map(filled).map(bytearray), st.integers(), st.text(max_size=5), arrays)
nested = st.recursive(
    plain,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part, max_size=3),
    max_leaves=5,
)


def same(one: Any, other: Any) -> bool:
    """Say whether two values are of the same kind and equal, arrays in them too."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def arrays_in(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [found for part in parts for found in arrays_in(part)]


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(args=st.lists(nested, max_size=4), at=st.integers(0, 70))
def test_a_call_comes_back_as_it_was_wherever_its_bytes_lie(args: list[Any], at: int) -> None:
    data = dumps_call((), tuple(args), {"more": args})
    moved = memoryview(bytearray(at) + data)[at:]  # as a part of something that came

    found, more = loads(moved)

    assert same(list(found), args)
    assert same(more, {"more": args})
    for array in arrays_in(found):
        assert array.nbytes < buffers.LARGE or (array.flags.writeable and array.flags.aligned)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(value=nested)
def test_a_result_comes_back_as_it_was(value: Any) -> None:
    found = loads_result(memoryview(bytearray(dumps_result(value))))

    assert same(found, value)


def test_bytes_that_are_given_twice_are_one_object_there() -> None:
    large = filled(buffers.LARGE)
    data = dumps_call((), (large, large, "x"), {})
    (one, other, _), _ = loads(data)

    assert one is other
    assert one == large
    assert len(data) < buffers.LARGE + 1000


def test_what_is_loaded_is_its_own() -> None:
    data = dumps_result(np.zeros(buffers.LARGE))
    one, other = loads_result(data), loads_result(data)
    one[0] = 7

    assert other[0] == 0


class Held:
    """Its bytes are bytes when they come back, as pickle alone gives them."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Held, (pickle.PickleBuffer(self.data),)


def test_a_class_that_hands_out_its_bytes_gets_bytes_back() -> None:
    (held,), _ = loads(dumps_call((), (Held(filled(buffers.LARGE)),), {}))

    assert type(held.data) is bytes


@pytest.mark.parametrize("cut", [20, 30, 100, 1000, -1])
def test_what_is_cut_short_is_refused(cut: int) -> None:
    data = dumps_result(np.zeros(buffers.LARGE))

    with pytest.raises((ValueError, EOFError, pickle.UnpicklingError)):
        loads_result(data[:cut])
