"""Every OctaPi script, with few jobs and with many, again and again: the answer is right each time.

``OCTAPI_TEST_TIMES=30 scripts/test tests/dispy/test_octapi_lessons.py`` runs each 30 times.
"""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from octapi.testing import EmbeddedCluster

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
TIMES = int(os.environ.get("OCTAPI_TEST_TIMES", "1"))
CIPHER = ("YJPYITREDSYUPIU", "THISXISXWORKING")

#: the pattern of the OctaPi's own lesson: a lock that is not released when the callback raises, ``job.id`` as key of
#: a dictionary into which a job goes only while it is pending, and the answer printed as soon as ``wait`` returns
LESSON = """
import sys, threading

def compute(seed, points):
    import random
    random.seed(seed)
    inside = 0
    for _ in range(points):
        if random.uniform(0, 1) ** 2 + random.uniform(0, 1) ** 2 <= 1.0:
            inside += 1
    return seed, inside

def job_callback(job):
    global total_inside, seen
    if job.status in (dispy.DispyJob.Finished, dispy.DispyJob.Terminated, dispy.DispyJob.Cancelled):
        jobs_cond.acquire()
        if job.id:
            pending_jobs.pop(job.id)
            seed, inside = job.result
            total_inside += inside
            seen += 1
            if len(pending_jobs) <= 32:
                jobs_cond.notify()
        jobs_cond.release()

if __name__ == '__main__':
    import dispy
    points, count = int(sys.argv[1]), int(sys.argv[2])
    jobs_cond = threading.Condition()
    pending_jobs = {}
    total_inside = seen = 0
    cluster = dispy.JobCluster(compute, nodes='192.168.1.*', callback=job_callback)
    for i in range(1, count + 1):
        job = cluster.submit(i, points)
        jobs_cond.acquire()
        job.id = i
        if job.status == dispy.DispyJob.Created or job.status == dispy.DispyJob.Running:
            pending_jobs[i] = job
            if len(pending_jobs) >= 96:
                while len(pending_jobs) > 32:
                    jobs_cond.wait()
        jobs_cond.release()
    cluster.wait()
    print(f'pi is about {4 * total_inside / (points * count)}, from {seen} jobs, {len(pending_jobs)} pending')
    cluster.close()
"""


def is_pi(text: str) -> bool:
    """Say whether darts gave about pi."""
    found = re.search(r"pi is about ([\d.]+)", text)
    return found is not None and abs(float(found[1]) - 3.14159) < 0.12


def has_primes(lower: int, upper: int) -> Callable[[str], bool]:
    """Return a check for the right number of primes."""
    count = sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(lower, upper + 1))
    return lambda text: f"{count} primes" in text


def says(words: str, times: int = 1) -> Callable[[str], bool]:
    """Return a check for words."""
    return lambda text: text.count(words) >= times


FACTORS = says("1000036000099 = 1000003 * 1000033")
BROKEN = says("rotors II V III, rings 1 1 1, start SCC")
SCRIPTS = [
    ("compute.py", [], "", says("executed job", 20)),
    ("compute_octapi.py", [], "", says("executed job", 20)),
    *((f"compute_pi_{how}.py", [5000, 4], "", is_pi) for how in ("canonical", "efficient", "octapi")),
    *((f"compute_pi_{how}.py", [10, 1500], "", is_pi) for how in ("canonical", "efficient", "octapi")),
    *(
        (f"primality_{how}.py", [lower, lower + count, 2], "", has_primes(lower, lower + count))
        for how in ("canonical", "efficient", "octapi")
        for lower, count in ((1_000_000, 20), (1_000_000, 1_000))
    ),
    *((f"factor_{how}.py", [1_000_036_000_099], "", FACTORS) for how in ("efficient", "octapi")),
    *((f"enigma_bf_{how}.py", [*CIPHER], "", BROKEN) for how in ("efficient", "octapi")),
    ("enigma_bf_canonical.py", [*CIPHER, "1 1 1"], "", BROKEN),
    ("bruteforce_octapi.py", [], "\n".join([*CIPHER, "1 1 1", ""]), BROKEN),
]


@pytest.fixture(params=["local", "cluster"])
def address(request: pytest.FixtureRequest) -> str:
    """This computer's own cores, or a master with two workers."""
    if request.param == "local":
        return "local"
    embedded: EmbeddedCluster = request.getfixturevalue("embedded")
    return embedded.address


def outcome(script: Path, arguments: list[object], stdin: str, address: str, place: Path) -> str:
    """Run a script as people do, and return what it printed."""
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        cwd=place,
        env=dict(os.environ, OCTAPI_ADDRESS=address),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "stdin", "is_right"),
    SCRIPTS,
    ids=[f"{row[0]}-{'-'.join(map(str, row[1]))}" for row in SCRIPTS],
)
def test_an_octapi_script_is_right_each_time(
    address: str, tmp_path: Path, name: str, arguments: list[object], stdin: str, is_right: Callable[[str], bool]
) -> None:
    """The OctaPi's scripts, whose answers are known."""
    for _ in range(TIMES):
        text = outcome(EXAMPLES / name, arguments, stdin, address, tmp_path)

        assert is_right(text), text


@pytest.mark.parametrize(("points", "count"), [(1_000, 20), (1_000, 1), (1, 2_000)])
def test_the_lesson_that_trusts_wait_and_the_status_is_right_each_time(
    address: str, tmp_path: Path, points: int, count: int
) -> None:
    """Every job has been counted when wait returns, none is popped before the script has put it there."""
    script = tmp_path / "lesson.py"
    script.write_text(textwrap.dedent(LESSON))

    for _ in range(max(TIMES, 5)):
        text = outcome(script, [points, count], "", address, tmp_path)

        assert f"from {count} jobs, 0 pending" in text
        assert is_pi(text), text
