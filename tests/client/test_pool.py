"""Scripts written for concurrent.futures.ProcessPoolExecutor move to a cluster by one line."""

import multiprocessing
from typing import Any

import pytest

from octapi import Cluster as ProcessPoolExecutor
from octapi.client.pool_arguments import slots_of


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTAPI_ADDRESS", "local")


def test_the_number_of_workers_may_come_first_as_in_the_standard_library() -> None:
    """It bounds the processes of this computer; the other arguments that only matter there are accepted."""
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(pow, [2, 3], [5, 2])) == [32, 9]
        assert sum(worker.slots for worker in pool.workers()) == 2
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context, initializer=None, max_tasks_per_child=1) as pool:
        assert pool.submit(abs, -3).result() == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"initializer": print, "initargs": ("x",)}, "initializer= is refused"),
        ({"initargs": (1,)}, "there is none"),
        ({"max_workers": 0}, "max_workers must be"),
        ({"max_tasks_per_child": "2"}, "max_tasks_per_child must be"),
        ({"max_workers": 2, "slots": 3}, "the same thing"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name_before_anything_starts(arguments: dict[str, Any], words: str) -> None:
    """And an argument that nobody knows is an error as with any function."""
    with pytest.raises(ValueError, match=words):
        ProcessPoolExecutor(**arguments)
    with pytest.raises(TypeError, match="no argument workers"):
        ProcessPoolExecutor(workers=2)  # type: ignore[call-arg]


def test_an_address_stays_an_address() -> None:
    """Only a number is taken for the number of workers."""
    assert slots_of("pi:8786", None, {}) == ("pi:8786", None)
    assert slots_of(None, 3, {}) == (None, 3)
    assert slots_of(4, None, {}) == (None, 4)
