"""The rules of batch sizes, without any process."""

from hypothesis import given
from hypothesis import strategies as st

from octapi.client.batcher import LARGEST, Batcher


def test_the_first_job_goes_alone() -> None:
    """Nothing is known of a function before its first job came back."""
    assert Batcher().size(1_000, 2) == 1


def test_batches_of_quick_jobs_grow() -> None:
    """Each batch may be larger than the one that came back."""
    batcher = Batcher()
    sizes = []
    for _ in range(5):
        sizes.append(batcher.size(1_000_000, 2))
        batcher.measured(sizes[-1], sizes[-1] * 1e-6)

    assert sizes == sorted(sizes)
    assert sizes[-1] > 1_000


def test_slow_jobs_go_one_by_one_and_are_not_sent_ahead() -> None:
    """A job of half a second is worth a trip of its own."""
    batcher = Batcher()
    batcher.measured(1, 0.5)

    assert batcher.size(100, 2) == 1
    assert batcher.in_flight(2) == 2


def test_batches_shrink_when_jobs_get_slower() -> None:
    """The newest times count most."""
    batcher = Batcher()
    for _ in range(5):
        batcher.measured(1_000, 0.001)
    quick = batcher.size(100_000, 2)
    for _ in range(5):
        batcher.measured(1_000, 10.0)

    assert batcher.size(100_000, 2) < quick / 10


@given(
    st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 1_000))),
    st.integers(0, 10_000_000),
    st.integers(0, 2_000),
)
def test_a_batch_is_never_empty_while_jobs_wait_nor_larger_than_the_queue(
    history: list[tuple[int, float]], queued: int, slots: int
) -> None:
    """No job starves, and none is invented."""
    batcher = Batcher()
    for jobs, seconds in history:
        batcher.measured(jobs, seconds)
    size = batcher.size(queued, slots)

    assert min(queued, 1) <= size <= min(queued, LARGEST) or queued == 0
    assert batcher.in_flight(slots) >= 1


@given(
    durations=st.lists(st.floats(1e-6, 0.5), min_size=1, max_size=60),
    slots=st.integers(1, 64),
    queued=st.integers(1, 100_000),
)
def test_no_batch_is_planned_beyond_its_budget_by_more_than_one_job(
    durations: list[float], slots: int, queued: int
) -> None:
    """By the mean that was measured; the slot itself stops at the budget when jobs turn out slower."""
    batcher = Batcher()
    for seconds in durations:
        batcher.measured(1, seconds)
        size = batcher.size(queued, slots)
        assert batcher.mean_s is not None
        assert size == 1 or size * batcher.mean_s <= batcher.budget_s(slots) + batcher.mean_s


@given(first=st.floats(1e-6, 1e-4), then=st.floats(0.05, 1.0))
def test_batches_shrink_within_some_slow_jobs(first: float, then: float) -> None:
    """Quick jobs grow the batches; slow ones bring them down to one."""
    batcher = Batcher()
    for _ in range(10):
        size = batcher.size(1_000_000, 4)
        batcher.measured(size, size * first)
    assert batcher.size(1_000_000, 4) > 100
    for _ in range(10):
        batcher.measured(1, then)

    assert batcher.size(1_000_000, 4) <= 2
