"""Arguments in messages are short, whatever they are."""

import pickle

from octapi.pickling.arguments import ARGUMENTS_LIMIT, shortened


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_arguments_are_shortened_one_by_one_and_together() -> None:
    assert shortened(pickle.dumps(((1, "a"), {"b": 2}))) == "1, 'a', b=2"
    assert shortened(pickle.dumps((("x" * 99,), {}))) == "'" + "x" * 36 + "..."
    assert len(shortened(pickle.dumps(((10**9,) * 50, {})))) == ARGUMENTS_LIMIT


def test_what_cannot_be_read_or_shown_raises_nothing() -> None:
    assert shortened(b"no pickle") == "<UnpicklingError while reading the arguments>"
    assert shortened(pickle.dumps(((Rude(),), {}))) == "<RuntimeError while reading the arguments>"
