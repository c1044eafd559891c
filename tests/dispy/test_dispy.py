"""The dispy API on this computer's cores."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

os.environ["OCTAPI_ADDRESS"] = "local"

import dispy

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def whoami(number):
    print("number", number)
    return os.getpid(), number, dispy_node_name  # noqa: F821


def divide(number):
    return 1 / number


def leave(code):
    os._exit(code)


def interim(number):
    dispy_provisional_result(number + 1)  # noqa: F821
    return number


def prepare():
    global prepared
    prepared = [1, 2, 3]
    return 0


def use_prepared():
    prepared.append(4)
    return prepared


def test_a_job_runs_from_source_with_the_modules_dispy_gives() -> None:
    """The function uses os without an import, and its output comes home."""
    with dispy.JobCluster(whoami) as cluster:
        job = cluster.submit(5)
        pid, number, node = job()

        assert (number, node) == (5, cluster.status().nodes[0].name)
        assert pid != os.getpid()
        assert (job.status, job.stdout, job.exception) == (dispy.DispyJob.Finished, "number 5\n", None)


def test_a_job_that_raises_is_terminated_with_a_traceback_text() -> None:
    """Result is None, exception is a str that starts at the user's frame, with its file, line and text."""
    cluster = dispy.JobCluster(divide)
    job = cluster.submit(0)

    assert job() is None
    assert job.status == dispy.DispyJob.Terminated
    assert "ZeroDivisionError" in job.exception
    first = divide.__code__.co_firstlineno
    assert f'File "{__file__}", line {first + 1}, in divide\n    return 1 / number\n' in job.exception
    cluster.close()


def test_a_job_that_exits_ends_at_once_and_says_why() -> None:
    """Where dispy waited for its zombie scan, the job is Terminated at once."""
    cluster = dispy.JobCluster(leave)
    job = cluster.submit(3)
    job()

    assert job.status == dispy.DispyJob.Terminated
    assert "exit code 3" in job.exception
    cluster.close()


def test_callbacks_find_the_id_that_was_set_after_submit() -> None:
    """However fast a job is, its callback comes after the script had its chance to name it."""
    seen = []
    everything = threading.Event()

    def done(job):
        seen.append(job.id)
        if len(seen) == 200:
            everything.set()

    cluster = dispy.JobCluster(divide, job_status=done)
    for number in range(200):
        job = cluster.submit(number + 1)
        job.id = f"job {number}"

    assert everything.wait(30)
    assert sorted(seen) == sorted(f"job {number}" for number in range(200))
    cluster.close()


def test_provisional_results_reach_job_status_before_the_final_one() -> None:
    """The callback sees both, in order."""
    seen = []
    cluster = dispy.JobCluster(interim, job_status=lambda job: seen.append((job.status, job.result)))
    cluster.submit(1)()
    cluster.shutdown()

    assert seen == [(dispy.DispyJob.ProvisionalResult, 2), (dispy.DispyJob.Finished, 1)]


def test_setup_runs_once_and_each_job_starts_from_what_it_made() -> None:
    """Globals of setup are inherited; a job's changes are its own."""
    cluster = dispy.JobCluster(use_prepared, setup=prepare)

    assert [cluster.submit()() for _ in range(3)] == [[1, 2, 3, 4]] * 3
    cluster.close()


def test_a_program_gives_its_exit_code_and_output_as_bytes() -> None:
    """Any exit code is Finished."""
    cluster = dispy.JobCluster("/bin/echo")
    job = cluster.submit("hello", 5)

    assert (job(), job.stdout, job.status) == (0, b"hello 5\n", dispy.DispyJob.Finished)
    cluster.close()


def test_a_second_cancel_is_refused() -> None:
    """cancel() returns -1 for a job that is final."""
    cluster = dispy.JobCluster(divide)
    job = cluster.submit(1)
    job()

    assert cluster.cancel(job) == -1
    cluster.close()


def test_submit_after_close_raises_attribute_error() -> None:
    """As in dispy."""
    cluster = dispy.JobCluster(divide)
    cluster.close()
    with pytest.raises(AttributeError):
        cluster.submit(1)


def test_compute_py_runs_unchanged() -> None:
    """The OctaPi's first script prints who did what, and the table."""
    done = subprocess.run(
        [sys.executable, "compute.py"], cwd=EXAMPLES, capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.count("executed job") == 20
    assert "Total job time" in done.stdout
