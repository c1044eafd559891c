"""Attacks of jobs: on the processes that run them, on what these share, and on the jobs that come later."""

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from octapi.device import accounts
from tests.harness import until
from tests.security.attack_cluster import Field, NotTried, Succeeded
from tests.security.table import attack, expected
from tests.security.well import all_is_well

#: what jobs do: the beginning of their script
EVIL = Path(__file__).with_name("evil.py")
SCRIPT = """
import octapi
with octapi.Cluster() as cluster:
    job = cluster.options(retries=1).submit({what}, {room!r})
    error = job.exception(60)
    print("JOB", repr(error) if error else job.result())
    print("LATER", sum(cluster.map(innocent, range(6))))
"""
#: what the jobs after it say together
LATER = "LATER 21"


@contextlib.contextmanager
def room() -> Iterator[Path]:
    """Make a directory that jobs may write to, whatever their account."""
    with tempfile.TemporaryDirectory(prefix="octapi-room-") as place:
        Path(place).chmod(0o777)
        yield Path(place)


def have_accounts() -> bool:
    """Say whether jobs run under an account of their own here, as they do where OctaPi is installed."""
    return accounts.unprivileged(accounts.SLOT_ACCOUNT)[0] is not None or not accounts.is_root()


async def said_by(field: Field, what: str, place: Path, home: str = "master") -> str:
    """Run a script whose job does something evil, and return what the job said; the next ones must work."""
    code = EVIL.read_text(encoding="utf-8") + SCRIPT.format(what=what, room=str(place))
    said = await asyncio.to_thread(field.yard.run, home, code)
    if LATER not in said:
        raise Succeeded(f"the jobs after it do not work: {said[-200:]}")
    await all_is_well(field)
    return said.split("JOB ")[1].split("\nLATER")[0]


@attack("job: makes the memory that it shares with the agent shorter", what="truncates_pages")
@attack("job: takes the descriptors of its slot and of the process that forks slots", what="takes_descriptors")
@attack("job: reads the memory of its slot and of the process that forks slots", what="reads_memory")
@attack("job: traces its slot and the process that forks slots", what="traces")
@attack("job: signals the worker's agent, which root runs", what="signals_root")
@attack("job: reads the identity of its worker through the agent", what="reads_identity")
async def reaches_for_more(field: Field, what: str) -> str:
    if not have_accounts() and what != "truncates_pages":
        raise NotTried(f"needs an installation that other accounts may enter, not {accounts.unreadable()}")
    with room() as place:
        said = await said_by(field, what, place)
    if "got nothing" not in said:
        raise Succeeded(said[:200])
    return said


@attack("job: leaves a process by two forks and a new session")
async def leaves_processes(field: Field) -> str:
    with room() as place:
        expected("it left", await said_by(field, "leaves_processes", place))
        pid = int((place / "pid").read_text())
    until(lambda: not psutil.pid_exists(pid))
    return "ended with the job"


@attack("job: writes nonsense to every descriptor that it finds", what="writes_nonsense", words="JobCrashed")
@attack("job: says that its outcome is an exabyte long", what="says_exabyte", words="JobCrashed")
@attack("job: says what is no event", what="says_no_event", words="JobCrashed")
@attack("job: says what came of other jobs", what="says_outcomes", words="JobCrashed")
@attack("job: closes every descriptor", what="closes_descriptors", words="JobCrashed")
@attack("job: opens files until there are no more descriptors", what="uses_up_descriptors", words="OSError")
async def confuses_its_slot(field: Field, what: str, words: str) -> str:
    """The job may say what it likes of itself; the ones after it have their own results."""
    with room() as place:
        said = await said_by(field, what, place)
    return f"its own job only: {expected(words, said)[:60]}"


@attack("job: kills its slot", what="kills_slot")
@attack("job: kills the process that forks slots", what="kills_forker")
async def kills(field: Field, what: str) -> str:
    """It is started as often as its retries allow, and no more."""
    with room() as place:
        said = await said_by(field, what, place)
        starts = len(list(place.glob("start-*")))
    if not 1 <= starts <= 2 or "JobCrashed" not in said:
        raise Succeeded(f"a job that may be retried once was started {starts} times: {said[:60]}")
    return f"started {starts} times: {said[:60]}"


@attack("job: changes modules and leaves threads for another's script")
async def leaves_traps(field: Field) -> str:
    """The next script is another login's, and its jobs run on each worker."""
    with room() as place:
        expected("it left", await said_by(field, "leaves_traps", place))
        said = await said_by(field, "finds_traps", place, "bobs")
        stolen = list(place.glob("stolen*"))
    if "got nothing" not in said or stolen:
        raise Succeeded(f"{said[:100]} {stolen}")
    return said


LIES = """
import dispy, functools, threading
def report(job):
    print("JOB", job.status, (job.exception or "")[-300:], flush=True)
cluster = dispy.JobCluster(sleeps, setup=functools.partial(lies_of_slots, {pid}, {how!r}), job_status=report)
job = cluster.submit({how!r})
threading.Timer(8, cluster.cancel, [job]).start()
job()
report(job)
cluster.close(terminate=True, timeout=5)
import octapi
with octapi.Cluster() as cluster:
    print("LATER", sum(cluster.map(innocent, range(6))))
"""


@attack("job: its setup names a process of root's as its slot, which root is to kill", how="false")
@attack("job: its setup names its own agent as its slot, which root is to kill", how="agent")
@attack("job: its setup says that its error is four exabytes long", how="endless")
async def lies_of_its_slot(field: Field, how: str) -> str:
    """The agent signals only what the kernel says is this setup's child."""
    agent = next(run for run in field.yard.running if run.home.name == "red").process.pid
    oom_candidate = await asyncio.create_subprocess_exec("sleep", "100", start_new_session=True)
    code = EVIL.read_text(encoding="utf-8") + LIES.format(pid=agent if how == "agent" else oom_candidate.pid, how=how)
    try:
        said = await asyncio.to_thread(field.yard.run, "master", code)
        if oom_candidate.returncode is not None or LATER not in said:
            raise Succeeded(f"it was killed: {said[-300:]}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            oom_candidate.kill()
        await oom_candidate.wait()
    await all_is_well(field)
    expected("said what is not so", said)
    return "not believed: its jobs fail, and nothing was killed"


SPOILT = """
import dispy, functools
cluster = dispy.JobCluster(answers, setup=functools.partial(spoils_slots, {how!r}))
job = cluster.submit({how!r})
job()
print("JOB", job.status, (job.exception or "")[-300:], flush=True)
cluster.close(terminate=True, timeout=5)
import octapi
with octapi.Cluster() as cluster:
    print("LATER", sum(cluster.map(innocent, range(6))))
"""


@attack("job: its slot says in its worker's name that this has joined", how="hello")
@attack("job: its slot tells of a job with a number of 64 bits", how="index")
@attack("job: its slot sends a file with a mode below none, of a time that is NaN", how="mode")
@attack("job: its slot says with a table that its script cannot be loaded", how="text")
@attack("job: its slot sends a frame of an unknown kind", how="kind")
async def spoils_its_slot(field: Field, how: str) -> str:
    """The slot is killed, and the master never hears of it."""
    before = noticed(field)
    code = EVIL.read_text(encoding="utf-8") + SPOILT.format(how=how)
    said = await asyncio.to_thread(field.yard.run, "master", code)
    if LATER not in said:
        raise Succeeded(f"the jobs after it do not work: {said[-200:]}")
    if noticed(field) == before:
        raise Succeeded(f"its agent did not notice: {said[-200:]}")
    await all_is_well(field)
    return "its slot is killed"


def noticed(field: Field) -> int:
    """Return how often agents have killed a slot for what it said."""
    return sum(run.text().count("a slot sent what cannot be used") for run in field.yard.running)
