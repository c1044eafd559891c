"""How dispy scripts end, and what is said then; processes and threads of one script."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Run

from octapi.dispy import table
from octapi.dispy.failures import Failures, reason
from octapi.testing import EmbeddedCluster

FAILING = """
    import dispy
    def compute(n):
        return 1 / n
    cluster = dispy.JobCluster(compute)
    jobs = [cluster.submit(0) for n in range(5)]
"""


def test_a_script_whose_jobs_fail_says_in_one_line_how_many_and_why(run: Run) -> None:
    """At the end, after the script's own traceback; with the place, and the node."""
    done = run(f"{FAILING}\n    host, n = jobs[0]()\n", code=1)

    last = done.stderr.splitlines()[-1]
    assert last.startswith("octapi: 5 of 5 jobs of compute failed; the first: ZeroDivisionError: division by zero ")
    assert "(line 4 of script.py) on worker-" in last
    assert "cannot unpack" in done.stderr


def test_jobs_that_succeed_or_that_the_script_cancelled_are_not_counted(run: Run) -> None:
    """Nothing is said of them; arguments that cannot be sent are."""
    done = run(
        """
        import dispy, threading, time
        def compute(n):
            import time
            time.sleep(n)
        cluster = dispy.JobCluster(compute)
        slow, good = cluster.submit(60), cluster.submit(0)
        while slow.status == dispy.DispyJob.Created:
            time.sleep(0.01)
        cluster.cancel(slow)
        good(), slow()
        cluster.close()
        bad = dispy.JobCluster(compute)
        bad.submit(threading.Lock())
        bad.submit(0)
        bad.close()
        """
    )

    assert "octapi: 1 of 2 jobs of compute failed; the first: The arguments cannot be pickled" in done.stderr
    assert done.stderr.count("failed") == 1


def test_the_reason_is_the_last_line_with_the_innermost_place() -> None:
    """Frames of OctaPi's own do not count, nor what Python adds below."""
    text = 'Traceback (most recent call last):\n  File "/a/b.py", line 3, in f\n    g()\n{}ValueError: no\n(a hint)\n'
    ours = f'  File "{Path(table.__file__)}", line 9, in h\n'

    assert reason(text.format("")) == "ValueError: no (line 3 of b.py)"
    assert reason(text.format(ours)) == "ValueError: no (line 3 of b.py)"
    assert reason("JobExited: The job called sys.exit(3).\n") == "JobExited: The job called sys.exit(3)."
    assert len(reason("E: " + "x" * 10_000)) == 300
    assert Failures().summary(3, "compute") == ""


def test_short_times_keep_the_digits_that_count() -> None:
    """Milliseconds a job are not 0.0; longer times are as dispy writes them."""
    assert [table.seconds(count) for count in (0, 3.65, 12.0, 0.96, 0.25, 0.0012, 0.00000123)] == [
        "0.0", "3.6", "12.0", "1.0", "0.25", "0.0012", "1.2e-06",
    ]  # fmt: skip
    node = SimpleNamespace(name="pi", ip_addr="", cpus=1, jobs_done=1000, cpu_time=1.5, tx=0, rx=0)
    header, row = table.render([node], 0, 1.0).splitlines()[1::2][:2]  # type: ignore[list-item]
    assert "0.0015" in row
    assert len(row) == len(header)


@pytest.mark.parametrize("ending", ["sys.exit(3)", "raise ValueError('end')", "pass"])
def test_all_jobs_and_callbacks_are_done_however_the_script_ends(run: Run, tmp_path: Path, ending: str) -> None:
    """As with dispy: the exit code is the script's."""
    code = {"s": 3, "r": 1, "p": 0}[ending[0]]
    run(
        f"""
        import dispy, sys, time
        def compute(n):
            import time
            time.sleep(0.1)
            return n
        def status(job):
            time.sleep(0.1)
            with open('seen', 'a') as file:
                print(job.result, file=file)
        cluster = dispy.JobCluster(compute, job_status=status)
        for n in range(8):
            cluster.submit(n)
        {ending}
        """,
        code=code,
    )

    assert sorted((tmp_path / "seen").read_text().split()) == [str(n) for n in range(8)]


def test_a_script_that_ends_says_for_what_it_waits_and_a_second_ctrl_c_drops_it(
    embedded: EmbeddedCluster, tmp_path: Path
) -> None:
    """The first one ends the script, as always."""
    path = tmp_path / "script.py"
    path.write_text(
        textwrap.dedent("""
        import dispy, time
        def compute(n):
            time.sleep(n)
        cluster = dispy.JobCluster(compute)
        job = cluster.submit(300)
        while job.status == dispy.DispyJob.Created:
            time.sleep(0.01)
        print('running', flush=True)
        job()
        """)
    )
    env = dict(os.environ, OCTAPI_ADDRESS=embedded.address)
    with subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=tmp_path
    ) as script:
        assert script.stdout is not None
        assert script.stderr is not None
        assert script.stdout.readline() == "running\n"
        script.send_signal(signal.SIGINT)
        said = ""
        while "the script has ended; 1 job of compute is not done. Ctrl-C drops it." not in said:
            line = script.stderr.readline()
            assert line, said
            said += line
        script.send_signal(signal.SIGINT)
        rest = script.stderr.read()
        script.wait(60)

    assert "KeyboardInterrupt" in said
    assert "octapi: stopped" in rest
    assert "Traceback" not in rest


def test_clusters_in_several_threads_at_once_share_one_connection(run: Run) -> None:
    """Two threads that make their first cluster at the same time, and one that goes on when the script has ended."""
    done = run(
        """
        import dispy, threading
        def compute(n):
            return n * n
        start = threading.Barrier(4)
        sessions, results = [], []
        def work(n):
            start.wait()
            cluster = dispy.JobCluster(compute, job_status=lambda job: results.append(job.result))
            sessions.append(cluster.session)
            jobs = [cluster.submit(n) for _ in range(50)]
            cluster.wait()
            cluster.close()
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(len(set(sessions)), len(results), sum(results))
        def late():
            threading.main_thread().join()
            print('late', dispy.JobCluster(compute).submit(3)())
        threading.Thread(target=late).start()
        """
    )

    assert done.stdout == "1 200 700\nlate 9\n"


def test_many_threads_may_submit_to_one_cluster(run: Run) -> None:
    """Wait counts them all, and each callback knows its job's name."""
    done = run(
        """
        import dispy, threading
        def compute(n):
            return n
        wrong, seen = [], []
        def status(job):
            seen.append(job.id)
            if job.id != ('name', job.result):
                wrong.append(job.id)
        cluster = dispy.JobCluster(compute, job_status=status)
        def work(first):
            for n in range(first, first + 200):
                job = cluster.submit(n)
                job.id = ('name', n)
        threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        cluster.wait()
        print(len(seen), wrong)
        """
    )

    assert done.stdout == "800 []\n"


def test_a_script_that_forks_keeps_its_jobs_and_the_child_makes_its_own(run: Run) -> None:
    """In the child the parent's cluster is refused by name, and its end waits for nobody."""
    done = run(
        """
        import dispy, os, sys
        def compute(n):
            import time
            time.sleep(0.2)
            return n
        seen = []
        cluster = dispy.JobCluster(compute, job_status=lambda job: seen.append(job.result))
        jobs = [cluster.submit(n) for n in range(6)]
        child = os.fork()
        if child == 0:
            for use in (lambda: cluster.submit(1), cluster.wait):
                try:
                    use()
                except Exception as error:
                    print(type(error).__name__, error)
            print(cluster.close(), dispy.JobCluster(compute).submit(7)(), flush=True)
            sys.exit(4)
        print('child', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        cluster.wait()
        print(sorted(seen))
        """
    )

    lines = done.stdout.splitlines()
    assert lines[0] == lines[1]
    assert lines[0].startswith("DispyError This cluster is of the process that forked this one")
    assert lines[2:] == ["None 7", "child 4", "[0, 1, 2, 3, 4, 5]"]


def test_a_later_clusters_recover_file_is_not_ignored_in_silence(run: Run, tmp_path: Path) -> None:
    """A warning names the file that is used."""
    done = run(
        """
        import dispy, os
        def compute(n):
            return n
        one = dispy.JobCluster(compute, recover_file='first.dat')
        same = dispy.JobCluster(compute, recover_file='first.dat')
        other = dispy.JobCluster(compute, recover_file='second.dat')
        print(os.path.exists('first.dat'), os.path.exists('second.dat'))
        """
    )

    assert done.stdout.splitlines()[-1] == "True False"
    assert done.stdout.count("recover_file") == 1
    assert "recover_file 'second.dat' is not used" in done.stdout
    assert str(tmp_path / "first.dat") in done.stdout or "first.dat" in done.stdout


def test_a_script_whose_output_nobody_reads_still_ends_and_does_its_jobs(
    embedded: EmbeddedCluster, tmp_path: Path
) -> None:
    """A warning of a callback that fails has nowhere to go; the next callbacks run."""
    text = """
        import dispy, os, sys
        def compute(n):
            return n
        def status(job):
            if job.result < 3:
                raise ValueError(job.result)
            open(f'seen{job.result}', 'w').close()
        cluster = dispy.JobCluster(compute, job_status=status)
        sys.stdout.close()
        for n in range(6):
            cluster.submit(n)
        cluster.wait()
    """
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(text))
    env = dict(os.environ, OCTAPI_ADDRESS=embedded.address)
    subprocess.run([sys.executable, str(path)], env=env, cwd=tmp_path, check=False, timeout=90)

    assert sorted(found.name for found in tmp_path.glob("seen*")) == ["seen3", "seen4", "seen5"]
