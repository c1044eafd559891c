"""``map`` takes items as they are when it takes them."""

from __future__ import annotations

import itertools
import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest

from octapi.client.items import Items
from octapi.errors import JobNotSent
from tests.harness import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import octapi


def test_map_takes_each_item_as_it_is_when_it_is_taken(cluster: octapi.Cluster) -> None:
    """A generator may use one list for all its items."""

    def rows(count: int) -> Iterator[list[int]]:
        row: list[int] = []
        for number in range(count):
            row.append(number)
            yield row

    def mixed(count: int) -> Iterator[Any]:
        row: list[int] = []
        for number in range(count):
            row.append(number)
            yield row if number % 3 else number

    assert list(cluster.map(len, rows(300))) == list(range(1, 301))
    want = [len(item) if isinstance(item, list) else item for item in mixed(300)]
    assert list(cluster.map(lambda x: len(x) if isinstance(x, list) else x, mixed(300))) == want
    assert list(cluster.map(lambda a, b: (a, len(b)), range(100), rows(100))) == [(n, n + 1) for n in range(100)]


def test_map_takes_a_container_as_it_is_at_the_call(cluster: octapi.Cluster) -> None:
    """What becomes of it, and of what is in it, changes nothing."""
    items = [[n] for n in range(500)]
    found = cluster.map(sum, items)
    for item in items:
        item.append(1000)
    items.clear()
    assert list(found) == list(range(500))
    table = {n: str(n) for n in range(50)}
    found = cluster.map(lambda key, value: (key, value), table, table.values())
    table.clear()
    assert list(found) == [(n, str(n)) for n in range(50)]


def test_map_without_iterables_or_items_ends_at_once(cluster: octapi.Cluster) -> None:
    """As zip() does."""
    assert list(cluster.map(abs)) == list(cluster.map(abs, [])) == list(cluster.map(pow, [1], [])) == []


def test_map_refuses_sizes_that_mean_nothing(cluster: octapi.Cluster) -> None:
    """As the standard library does."""
    for size in (0, -1):
        with pytest.raises(ValueError, match="chunksize"):
            cluster.map(abs, [1], chunksize=size)
        with pytest.raises(ValueError, match="buffersize"):
            cluster.map(abs, [1], buffersize=size)
    assert list(cluster.map(abs, [-1], chunksize=10, buffersize=1)) == [1]


def test_map_may_be_fed_by_its_own_results(cluster: octapi.Cluster) -> None:
    """An item waits for no other: what was taken is sent, also while the iterable gives no more."""
    todo: queue.Queue[int | None] = queue.Queue()
    todo.put(1)
    seen = []
    for number in cluster.map(abs, iter(todo.get, None)):
        seen.append(number)
        todo.put(number + 1 if number < 40 else None)
    assert seen == list(range(1, 41))


def test_map_over_an_endless_generator_stops_when_it_is_closed(cluster: octapi.Cluster) -> None:
    """It takes no more than it may, and nothing after its end."""
    taken = itertools.count()

    def endless() -> Iterator[list[int]]:
        while True:
            yield [next(taken)]

    found = cluster.map(len, endless(), buffersize=200)
    assert list(itertools.islice(found, 300)) == [1] * 300
    found.close()  # type: ignore[attr-defined]
    until(lambda: not any(thread.name == "octapi-map" for thread in threading.enumerate()))
    assert next(taken) < 1000


def test_an_item_that_cannot_be_pickled_fails_in_its_place(cluster: octapi.Cluster) -> None:
    """The others are done."""
    found = cluster.map(lambda x: x, [[1], threading.Lock(), [3]])
    assert next(found) == [1]
    with pytest.raises(JobNotSent, match="An item cannot be pickled"):
        next(found)
    items = Items(([1, [2], threading.Lock(), 4],), 100)
    rows: list[Any] = []
    assert not items.take(4, rows)
    assert items.take(1, rows)
    assert [type(row).__name__ for row in rows] == ["tuple", "bytes", "Unsent", "tuple"]


def test_large_items_are_not_taken_far_ahead(cluster: octapi.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded in bytes, not only in number."""
    monkeypatch.setattr("octapi.results.AHEAD_BYTES", 4 << 20)
    taken = []

    def frames() -> Iterator[bytearray]:
        frame = bytearray(1 << 20)
        for number in range(60):
            taken.append(number)
            frame[0] = number
            yield frame

    blocked = cluster.map(lambda frame: frame[0], frames(), buffersize=1000)
    assert list(blocked) == list(range(60))
    assert len(taken) == 60
