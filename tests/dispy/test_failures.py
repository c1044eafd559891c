"""What happens to dispy jobs when things go wrong, on a real cluster."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from conftest import Run

from octapi.testing import EmbeddedCluster


def start(text: str, place: Path, embedded: EmbeddedCluster) -> subprocess.Popen[str]:
    """Start a script whose output is read line by line."""
    path = place / "script.py"
    path.write_text(textwrap.dedent(text))
    env = dict(os.environ, OCTAPI_ADDRESS=embedded.address)
    return subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True, env=env, cwd=place)


def rest_of(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a script, and return what it printed."""
    with process:
        assert process.stdout is not None
        text = process.stdout.read()
        assert process.wait(60) == 0
    return text


ABANDONED = """
    import dispy, sys
    events = []
    def cluster_status(status, node, job):
        if status in (dispy.DispyNode.Closed, dispy.DispyJob.Abandoned):
            events.append(status)
    def compute(n):
        import time
        time.sleep(n)
        return n
    cluster = dispy.JobCluster(compute, cluster_status=cluster_status, pulse_interval=2, reentrant=REENTRANT)
    job = cluster.submit(SECONDS)
    while job.status == dispy.DispyJob.Created:
        pass
    print('running', flush=True)
    print(job())
    cluster.session.callbacks.drain()
    print(job.status, job.exception and 'went away' in job.exception, events)
    cluster.close(terminate=True)
"""


def test_jobs_of_a_lost_node_are_abandoned_and_say_so(tmp_path: Path) -> None:
    """Closed, then Abandoned for each job; finish is set, where dispy left scripts hanging."""
    with EmbeddedCluster(workers=1) as embedded:
        script = start(ABANDONED.replace("REENTRANT", "False").replace("SECONDS", "60"), tmp_path, embedded)
        assert script.stdout is not None
        assert script.stdout.readline() == "running\n"
        embedded.processes[-1].kill()

        assert rest_of(script) == "None\n10 True [16, 10]\n"


def test_reentrant_jobs_of_a_lost_node_run_on_another(tmp_path: Path) -> None:
    """The same job object finishes elsewhere, after its Abandoned event."""
    with EmbeddedCluster(workers=1) as embedded:
        script = start(ABANDONED.replace("REENTRANT", "True").replace("SECONDS", "2"), tmp_path, embedded)
        assert script.stdout is not None
        assert script.stdout.readline() == "running\n"
        embedded.processes[-1].kill()
        embedded.add_worker("other")

        assert rest_of(script) == "2\n11 None [16, 10]\n"


def test_jobs_of_a_crashed_script_are_recovered(tmp_path: Path) -> None:
    """Its jobs on nodes go on; recover_jobs waits for them, and the file is gone afterwards."""
    with EmbeddedCluster(workers=2) as embedded:
        script = start(
            """
            import dispy, os, signal
            def compute(n):
                import time
                time.sleep(1)
                print('ran', n)
                if n == 1:
                    raise ValueError('one')
                return n
            cluster = dispy.JobCluster(compute)
            jobs = [cluster.submit(n) for n in range(2)]
            while any(job.status == dispy.DispyJob.Created for job in jobs):
                pass
            os.kill(os.getpid(), signal.SIGKILL)
            """,
            tmp_path,
            embedded,
        )
        with script:
            assert script.wait(60) == -signal.SIGKILL
        assert len(list(tmp_path.glob("_dispy_*"))) == 1
        rescue = start(
            """
            import dispy
            for job in sorted(dispy.recover_jobs(), key=lambda job: job.status):
                print(job.status, job.result, job.stdout.strip(), job.exception and 'ValueError: one' in job.exception)
            print(dispy.recover_jobs())
            """,
            tmp_path,
            embedded,
        )

        text = rest_of(rescue)
        assert text.startswith("9 None ran 1 True\n11 0 ran 0 None\nCould not recover jobs")
        assert text.endswith("[]\n")
        assert list(tmp_path.glob("_dispy_*")) == []


def test_cancelled_jobs_end_as_in_dispy(run: Run) -> None:
    """Queued: Cancelled. Running: interrupted, Terminated; one that catches it is Finished with its result."""
    done = run(
        """
        import dispy
        seen = []
        def compute(n, catch):
            import time
            try:
                time.sleep(n)
            except KeyboardInterrupt:
                if catch:
                    print('caught')
                    return 'caught'
                raise
            return n
        cluster = dispy.JobCluster(compute, job_status=lambda job: seen.append(job.status))
        running = [cluster.submit(60, False), cluster.submit(60, True)]
        queued = cluster.submit(60, True)
        while any(job.status == dispy.DispyJob.Created for job in running):
            pass
        print(cluster.cancel(queued), queued.status, queued.ip_addr, queued.finish.is_set(), queued.exception)
        for job in running:
            print(cluster.cancel(job), cluster.cancel(job) )
        for job in running:
            print(job(), job.status, job.stdout, job.exception)
        cluster.shutdown()
        print(sorted(seen))
        """
    )

    lines = [line for line in done.stdout.splitlines() if " dispy - " not in line]
    assert lines[:-2] == ["0 8 None True None", "0 -1", "0 -1", "None 9 None None", "caught 11 caught"]
    assert lines[-1] == "[8, 9, 11]"


def test_every_way_to_fail_ends_a_job_at_once(run: Run) -> None:
    """Exit, crash, unpicklable result and arguments: never a job that hangs."""
    done = run(
        """
        import dispy, threading
        def compute(how):
            if how == 'exit':
                sys.exit(3)
            if how == 'os':
                os._exit(4)
            if how == 'segv':
                os.kill(os.getpid(), signal.SIGSEGV)
            if how == 'interrupt':
                raise KeyboardInterrupt
            if how == 'unpicklable':
                return threading.Lock()
        cluster = dispy.JobCluster(compute)
        for how in ('exit', 'os', 'segv', 'unpicklable', 'interrupt'):
            job = cluster.submit(how)
            print(how, job(), job.status, (job.exception or '').splitlines()[:1])
        job = cluster.submit(threading.Lock())
        print(job(), job.status, job.finish.is_set())
        print(cluster.submit(1, dispy_job_depends=['nothing.py']))
        job = cluster.submit()
        job()
        print('missing 1 required' in job.exception, job.status)
        """
    )

    lines = [line for line in done.stdout.splitlines() if " dispy - " not in line]
    assert [line.split()[2] for line in lines[:5]] == ["9"] * 5
    for cause, line in zip(("sys.exit", "exit code 4", "SIGSEGV", "cannot be pickled"), lines, strict=False):
        assert cause in line
    assert lines[5:] == ["None 8 True", "None", "True 9"]


def test_a_failed_setup_leaves_a_warning_and_no_hanging_job(run: Run) -> None:
    """Setup must return 0, 1 or 2; None is a failure, as in dispy, and the jobs say so."""
    done = run(
        """
        import dispy
        def setup():
            pass
        def compute():
            return 1
        cluster = dispy.JobCluster(compute, setup=setup)
        job = cluster.submit()
        print(job(), job.status, 'must return 0, 1 or 2' in job.exception)
        """
    )

    assert done.stdout.endswith("None 9 True\n")
    assert "Setup of compute on worker-1 failed" in done.stdout


def test_the_with_block_ends_the_exception_but_not_in_silence(run: Run) -> None:
    """A with block in dispy swallows it; here it is printed too."""
    done = run(
        """
        import dispy
        def compute():
            return 1
        with dispy.JobCluster(compute) as cluster:
            raise ValueError('in the block')
        print('after')
        """
    )

    assert done.stdout == "after\n"
    assert "ValueError: in the block" in done.stderr
