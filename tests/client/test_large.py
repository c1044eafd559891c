"""Large arguments and results: whole, private to their job, and as they were at the call."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import octapi
from octapi.testing import EmbeddedCluster

#: around the lengths at which bytes go other ways: beside the pickle, in a batch of their own, in pages of their own
SIZES = [60_000, 70_000, 1_000_000, 1_200_000, 5_000_000]


@pytest.fixture(params=["local", "cluster"], scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[octapi.Cluster]:
    if request.param == "local":
        with octapi.Cluster("local", slots=2, progress=False) as found:
            yield found
    else:
        with EmbeddedCluster(workers=2, slots=1) as embedded, octapi.Cluster(embedded.address, progress=False) as found:
            yield found


def given_back(value: Any) -> Any:
    return value


def changed(array: Any) -> tuple[Any, bool]:
    array += 1
    return array, bool(array.flags.aligned)


def many(size: int, fails: bool) -> bytes:
    print("some words")
    if fails:
        raise ValueError(b"x" * size)
    return b"y" * size


@pytest.mark.parametrize("size", SIZES)
def test_bytes_and_arrays_come_back_as_they_were(cluster: octapi.Cluster, size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    array = np.frombuffer(data[: size // 8 * 8], dtype="<f8")

    assert cluster.submit(given_back, data).result() == data
    assert cluster.submit(given_back, bytearray(data)).result() == bytearray(data)
    assert cluster.submit(given_back, {"a": [array]}).result()["a"][0].tobytes() == array.tobytes()
    assert [found.tobytes() for found in cluster.map(given_back, [array, array[:9]])] == [
        data[: size // 8 * 8],
        data[:72],
    ]


@pytest.mark.parametrize("size", SIZES)
def test_a_job_may_write_to_its_arrays_and_a_script_to_its_results(cluster: octapi.Cluster, size: int) -> None:
    array = np.zeros(size // 8)
    array.setflags(write=False)

    found, is_aligned = cluster.submit(changed, array).result()
    found += 1

    assert is_aligned
    assert found.flags.aligned
    assert not array.any()
    assert (found == 2).all()


def test_a_job_gets_an_array_as_it_was_at_the_call(cluster: octapi.Cluster) -> None:
    array = np.zeros(1_000_000)
    jobs = []
    for number in range(6):
        array[:] = number
        jobs.append(cluster.submit(given_back, array))
    array[:] = -1

    assert [float(job.result().mean()) for job in jobs] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("size", SIZES)
def test_what_a_job_printed_comes_with_a_large_result(cluster: octapi.Cluster, size: int) -> None:
    job = cluster.submit(many, size, False)

    assert job.result() == b"y" * size
    assert job.stdout == "some words\n"


def test_an_error_may_hold_much(cluster: octapi.Cluster) -> None:
    job = cluster.submit(many, 3_000_000, True)

    with pytest.raises(ValueError, match="xxx") as caught:
        job.result()
    assert caught.value.args == (b"x" * 3_000_000,)
    assert job.stdout == "some words\n"


def test_small_jobs_and_large_ones_do_not_mix_their_results(cluster: octapi.Cluster) -> None:
    sizes = [size for _ in range(4) for size in (1, 100_000, 9_000, 2_000_000, 0)]
    jobs = [cluster.submit(given_back, bytes([number]) * size) for number, size in enumerate(sizes)]

    assert [job.result() for job in jobs] == [bytes([number]) * size for number, size in enumerate(sizes)]


def test_a_process_that_is_forked_later_has_an_array_of_its_own(cluster: octapi.Cluster) -> None:
    """What it writes there is not seen by the script."""
    found = cluster.submit(given_back, np.zeros(1_000_000)).result()
    pid = os.fork()
    if pid == 0:
        found[:] = 7
        os._exit(0)
    os.waitpid(pid, 0)

    assert not found.any()


def limits_files(size: int) -> bytes:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    return b"x" * size


def test_a_limit_on_files_does_not_hold_for_a_large_result(cluster: octapi.Cluster) -> None:
    assert cluster.submit(limits_files, 3_000_000).result() == b"x" * 3_000_000


def test_an_array_keeps_its_order_of_axes(cluster: octapi.Cluster) -> None:
    array = np.asfortranarray(np.ones((400, 500)))
    array.setflags(write=False)

    assert cluster.submit(given_back, array).result().flags.f_contiguous
