"""Callbacks: who waits for them, and what one that misbehaves does to the others."""

import sys
import threading
from pathlib import Path

import pytest
from conftest import Run
from tests.harness import until

from octapi.dispy.callbacks import Call, Callbacks, Patience
from octapi.dispy.window import Window, Windows, is_starved


def nothing() -> None:
    """Be told that a callback has run."""


def test_wait_cluster_and_close_return_after_the_last_callback(run: Run) -> None:
    """Each of them, and print_status and the end of the script: slow callbacks have seen all."""
    done = run(
        """
        import dispy, time
        def compute(n):
            return n
        seen = []
        def slow(job):
            time.sleep(0.05)
            seen.append(job.result)
        cluster = dispy.JobCluster(compute, job_status=slow)
        for wait in (cluster.wait, cluster, cluster.cluster, lambda: ([job() for job in jobs], cluster.print_status())):
            jobs = [cluster.submit(n) for n in range(5)]
            wait()
            print(sorted(seen))
            seen.clear()
        for n in range(5):
            cluster.submit(n)
        print(cluster.close(), sorted(seen))
        seen.clear()
        last = dispy.JobCluster(compute, job_status=lambda job: (time.sleep(0.3), print('last', job.result)))
        for n in range(3):
            last.submit(n)
        """
    )

    lines = [line for line in done.stdout.splitlines() if line.startswith(("[", "True", "last"))]
    assert lines[:5] == ["[0, 1, 2, 3, 4]"] * 4 + ["True [0, 1, 2, 3, 4]"]
    assert sorted(lines[5:]) == ["last 0", "last 1", "last 2"]


def test_a_callback_that_raises_or_exits_harms_nobody(run: Run) -> None:
    """The others are called, a warning says which failed and why."""
    done = run(
        """
        import dispy, sys
        def compute(n):
            return n
        seen = []
        def status(job):
            if job.result == 1:
                raise ValueError('one is not liked')
            if job.result == 2:
                sys.exit('two ends it')
            if job.result == 3:
                raise KeyboardInterrupt
            seen.append(job.result)
        cluster = dispy.JobCluster(compute, job_status=status)
        for n in range(6):
            cluster.submit(n)
        cluster.wait()
        print(sorted(seen))
        """
    )

    assert done.stdout.splitlines()[-1] == "[0, 4, 5]"
    assert done.stdout.count("Status notification status failed") == 3
    assert "one is not liked" in done.stdout
    assert "two ends it" in done.stdout


def test_a_callback_may_wait_for_other_jobs_and_for_the_cluster(run: Run) -> None:
    """job(), finish.wait, wait, print_status and close inside a callback end."""
    done = run(
        """
        import dispy
        def compute(n):
            import time
            time.sleep(0.05)
            return n
        jobs, seen = [], []
        def status(job):
            if job.id == 'first':
                more = [cluster.submit(n) for n in (10, 20)]
                seen.append(more[0]())
                seen.append(more[1].finish.wait(30) and more[1].result)
                cluster.print_status()
                seen.append(cluster.wait())
            seen.append(job.result)
        cluster = dispy.JobCluster(compute, job_status=status)
        cluster.submit_job_id('first', 1)
        cluster.submit(2)
        cluster.wait()
        print('seen', sorted(map(int, seen)))
        closing = dispy.JobCluster(compute, job_status=lambda job: print('closed', closing.close()))
        closing.submit(1)
        closing.wait()
        """
    )

    assert "seen [1, 1, 2, 10, 10, 20, 20]" in done.stdout
    assert "closed True" in done.stdout


def test_jobs_that_callbacks_submit_are_waited_for_too(run: Run) -> None:
    """A chain in which each callback submits the next job has ended when wait returns."""
    done = run(
        """
        import dispy
        def compute(n):
            return n + 1
        def status(job):
            if job.result < 10:
                cluster.submit(job.result)
            else:
                print('end', job.result)
        cluster = dispy.JobCluster(compute, job_status=status)
        cluster.submit(0)
        cluster.wait()
        print('waited', cluster.status().jobs_pending)
        """
    )

    assert done.stdout.splitlines()[-2:] == ["end 10", "waited 0"]


def test_wait_with_a_timeout_says_that_callbacks_are_missing(run: Run) -> None:
    """It returns False in time, and the cluster stays usable."""
    done = run(
        """
        import dispy, threading
        def compute(n):
            return n
        go = threading.Event()
        cluster = dispy.JobCluster(compute, job_status=lambda job: go.wait(60))
        cluster.submit(1)()
        print(cluster.wait(0.5), cluster.close(timeout=0.1))
        go.set()
        print(cluster.wait(30), cluster.submit(2)(), cluster.close())
        """
    )

    assert done.stdout == "False False\nTrue 2 True\n"


def test_wait_says_for_which_callback_it_waits(run: Run) -> None:
    """On stderr, with its name and line."""
    done = run(
        """
        import dispy, time
        def compute(n):
            return n
        def very_slow(job):
            time.sleep(3.5)
        cluster = dispy.JobCluster(compute, job_status=very_slow)
        cluster.submit_job_id('it', 1)
        cluster.wait()
        """
    )

    assert "octapi: waiting for the callback very_slow" in done.stderr
    assert "line 5) of job it" in done.stderr


def test_a_wait_does_not_end_while_a_callback_gets_on_and_ends_when_it_stands_still(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A callback that waits for the thread that waits for it would hold both for ever."""
    callbacks = Callbacks()
    never = threading.Event()
    callbacks.put(Call(never.wait, (), None, nothing))

    callbacks.drain(standstill_s=0.2)

    assert "stands still" in capsys.readouterr().err
    never.set()
    callbacks.drain()
    assert not Patience(callbacks, 60).is_over()


def test_a_window_is_closed_by_the_next_call_of_its_thread_only() -> None:
    """Each thread has its own."""
    windows = Windows()
    mine = windows.open()
    other: list[Window] = []
    thread = threading.Thread(target=lambda: other.append(windows.open()))
    thread.start()
    thread.join()

    assert mine.is_mine()
    assert not other[0].is_mine()
    other[0].wait()  # its thread has ended
    assert mine.is_open
    windows.close()
    assert not mine.is_open


def test_a_thread_that_got_no_processor_is_told_from_one_that_sleeps() -> None:
    """The first is given more time to name its job."""
    stop, numbers = threading.Event(), list[int]()

    def spin() -> None:
        numbers.append(threading.get_native_id())
        while not stop.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    until(lambda: numbers)

    assert not is_starved(0)
    if sys.platform == "linux":
        until(lambda: is_starved(numbers[0]))
        stop.set()
        until(lambda: not is_starved(numbers[0]))
    stop.set()
    thread.join()


def test_a_window_is_over_as_soon_as_its_thread_waits_for_somebody() -> None:
    """A script that waits for its callback to say something is not kept waiting for the window's end."""
    windows = Windows()
    found: list[Window] = []
    opened, go = threading.Event(), threading.Event()

    def submit() -> None:
        found.append(windows.open())
        found[0].until += 1000
        opened.set()
        go.wait(60)

    thread = threading.Thread(target=submit)
    thread.start()
    opened.wait(60)
    found[0].wait()

    assert not found[0].is_open
    go.set()
    thread.join()


def test_a_job_that_ended_looks_pending_until_the_script_has_named_it_and_looked(run: Run) -> None:
    """What dispy's pattern for many jobs relies on; anything else that the script does shows the truth."""
    done = run(
        """
        import dispy, time
        def compute(n):
            return n
        cluster = dispy.JobCluster(compute, job_status=lambda job: None)
        cluster.submit(0)()
        wrong = 0
        for n in range(1, 301):
            job = cluster.submit(n)
            if n % 3 == 0:
                time.sleep(0.004)
            job.id = n
            if job.status not in (dispy.DispyJob.Created, dispy.DispyJob.Running):
                wrong += 1
            if job() != n or job.status != dispy.DispyJob.Finished:
                wrong += 1000
        print(wrong)
        """
    )

    assert done.stdout == "0\n"


def test_files_and_provisional_results_that_cannot_be_taken_here_are_warnings(run: Run, tmp_path: Path) -> None:
    """The job that sent them says so in its stderr and ends as usual, and so do the others."""
    (tmp_path / "taken").write_text("a file where a directory would have to be")
    done = run(
        """
        import dispy
        def compute(n):
            class Progress(Exception):
                def __init__(self, done, of):
                    super().__init__(f'{done}/{of}')
            class Exits:
                def __reduce__(self):
                    return exit, (3,)
            if n == 0:
                dispy_provisional_result(Progress(1, 2))
            if n == 1:
                os.makedirs('taken', exist_ok=True)
                open('taken/file.txt', 'w').close()
                dispy_send_file('taken/file.txt')
            if n == 2:
                dispy_provisional_result(Exits())
            return n if n != 3 else Exits()
        seen = []
        cluster = dispy.JobCluster(compute, job_status=lambda job: seen.append(job.id))
        jobs = [cluster.submit_job_id(n + 1, n) for n in range(6)]
        cluster.wait()
        for job in jobs:
            print('job', job.result, job.status, (job.stderr or '').strip()[:40], (job.exception or '')[:30])
        print(sorted(seen))
        """
    )

    lines = [line for line in done.stdout.splitlines() if line.startswith(("job", "["))]
    assert lines[0] == "job 0 11 octapi: A provisional result cannot be l "
    assert lines[1] == "job 1 11 octapi: The file 'taken/file.txt' that i "
    assert lines[2] == "job 2 11 octapi: A provisional result cannot be l "
    assert lines[3].startswith("job None 9  The result cannot be loaded he")
    assert lines[4:] == ["job 4 11  ", "job 5 11  ", "[1, 2, 3, 4, 5, 6]"]
