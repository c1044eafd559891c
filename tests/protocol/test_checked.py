"""What the checked readers let through, and that nothing else comes out of them than a value or a refusal."""

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octapi.errors import ClusterError, MessageRefused
from octapi.protocol import checked
from octapi.protocol.checked import (
    MOST,
    boolean,
    integer,
    json_object,
    left_out,
    listing,
    mapping,
    maybe,
    number,
    plain,
    shown,
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.binary(max_size=3) | st.integers(), inner, max_size=4)
    ),
    max_leaves=15,
)
HELLO = checked.record(
    {"name": checked.text(10), "slots": integer(1, 64)},
    {"health": mapping(checked.text(10), number(0, 100), 4), "idents": listing(integer(), 3), "old": maybe(boolean)},
)


@given(ANYTHING)
def test_a_reader_returns_a_value_of_its_kind_or_refuses(value: Any) -> None:
    """Whatever it is given, and never with another error."""
    for reader in (HELLO, plain(), integer(), number(), boolean, checked.text(5), checked.blob(5), listing(boolean, 2)):
        try:
            reader(value)
        except MessageRefused as refusal:
            said = str(refusal)
        else:
            said = ""
        assert not said or said.isprintable()


@given(ANYTHING)
def test_what_is_plain_has_finite_numbers_of_63_bits(value: Any) -> None:
    """And keys that are texts, wherever they are."""
    try:
        plain()(value)
    except MessageRefused:
        return
    stack = [value]
    while stack:
        part = stack.pop()
        assert not isinstance(part, float) or math.isfinite(part)
        assert not isinstance(part, int) or abs(part) <= MOST
        assert not isinstance(part, dict) or {type(key) for key in part} <= {str}
        stack.extend(part.values() if isinstance(part, dict) else part if isinstance(part, list) else ())


@pytest.mark.parametrize(
    "value",
    [
        {"name": "red"}, {"name": "red", "slots": True}, {"name": "red", "slots": 2**64 - 1},
        {"name": "red", "slots": 0}, {"name": b"red", "slots": 1}, {"name": "r" * 11, "slots": 1},
        {"name": "red", "slots": 1, b"x": 1}, {"name": "red", "slots": 1, "health": {"cpu": math.nan}},
        {"name": "red", "slots": 1, "health": {"cpu": math.inf}}, {"name": "red", "slots": 1, "idents": [1, 2, 3, 4]},
        {"name": "red", "slots": 1, "health": {"cpu": 1e308}}, {"name": "\ud800", "slots": 1}, ["name", "slots"], None,
    ],
)  # fmt: skip
def test_a_record_that_is_not_as_it_must_be_is_refused_by_name(value: Any) -> None:
    """Missing and strange keys, wrong types, numbers out of range, texts and lists that are too long."""
    with pytest.raises(MessageRefused) as caught:
        HELLO(value)
    assert isinstance(caught.value, ClusterError)
    assert len(str(caught.value)) < 200


def test_what_a_newer_release_says_more_is_left_out_where_that_is_wanted() -> None:
    """Everywhere else it is refused."""
    reader = checked.record({"a": integer()}, rest=left_out)

    assert reader({"a": 1, "b": 2}) == {"a": 1}
    with pytest.raises(MessageRefused, match="does not belong"):
        checked.record({"a": integer()})({"a": 1, "b": 2})


@given(st.text(max_size=50))
def test_a_text_for_people_has_nothing_in_it_that_acts_on_a_terminal(text: str) -> None:
    """Control characters, line ends, and what turns the direction of letters."""
    assert shown(text).isprintable()


def test_escape_sequences_and_letters_that_turn_round_are_seen_as_what_they_are() -> None:
    """A text that is harmless is left alone, letters of all languages included."""
    assert shown("\x1b]0;evil\x07\u202eexe") == "\\x1b]0;evil\\x07\\u202eexe"
    assert shown("Zoë 日本 [/bold]") == "Zoë 日本 [/bold]"
    assert len(shown("x" * 100, 10)) == 10


@pytest.mark.parametrize(
    "data", [b'{"a": NaN}', b'{"a": 1e999}', b"[1]", b"{", b'{"a": 123456789012345678901}', b"[" * 10**5, b"\xff"]
)
def test_json_of_another_process_is_an_object_of_plain_values_or_refused(data: bytes) -> None:
    """Python's own reader takes NaN, endless numbers, and whole numbers of any length."""
    with pytest.raises(MessageRefused):
        json_object(data)


def test_a_pattern_is_for_the_whole_text() -> None:
    """A line break at its end is not overlooked."""
    reader = checked.text(10, re.compile("[a-z]+"))

    assert reader("abc") == "abc"
    with pytest.raises(MessageRefused):
        reader("abc\n")
