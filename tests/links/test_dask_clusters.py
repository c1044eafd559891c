"""``Cluster(dask=...)``: what it takes, refuses and leaves behind, and Dask clusters that change under it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

import octapi
from octapi.client import dask_pools
from octapi.client.dask_pools import DaskPool, HeldBatch
from octapi.dask_plugins.relay import is_broken, workers_for
from octapi.errors import AddressError, ClusterError, MasterLost, MasterNotFound
from octapi.protocol.outcome import SILENT, WorkerInfo
from octapi.protocol.specs import BatchSpec, ComputationFacts
from tests.harness import until
from tests.links.sites import DaskProcesses, DaskSite, kill

#: Dask's own local clusters leave sockets to the garbage collector
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def site() -> Iterator[DaskSite]:
    found = DaskSite()
    yield found
    found.close()


@pytest.fixture
def processes() -> Iterator[DaskProcesses]:
    """A scheduler alone."""
    found = DaskProcesses(workers=0)
    yield found
    found.close()


def wait_for(path: str) -> int:
    """Be a job that ends when a file is there, and return its process."""
    import os
    import pathlib
    import time

    while not pathlib.Path(path).exists():
        time.sleep(0.01)
    return os.getpid()


# ---- what it takes


def test_a_client_says_where_its_cluster_is_and_stays_open(site: DaskSite) -> None:
    with Client(site.dask.address, set_as_default=False) as client:
        with octapi.Cluster(dask=client) as cluster:
            assert cluster.submit(abs, -3).result(timeout=60) == 3
            assert cluster.dask is client
        assert client.submit(abs, -4).result(timeout=60) == 4


def test_an_address_is_enough_and_its_scheme_may_be_left_out(site: DaskSite) -> None:
    with octapi.Cluster(dask=site.dask.address.removeprefix("tcp://")) as cluster:
        assert cluster.submit(abs, -3).result(timeout=60) == 3
        assert cluster.dask.submit(abs, -5).result(timeout=60) == 5


def test_two_scripts_share_a_cluster_of_dask_with_dasks_own_tasks(site: DaskSite) -> None:
    with site.cluster() as one, site.cluster() as other, Client(site.dask.address, set_as_default=False) as client:
        tasks = client.map(abs, range(-20, 0))
        jobs = [cluster.submit(abs, -number) for number in range(20) for cluster in (one, other)]

        assert [job.result(timeout=60) for job in jobs[::2]] == list(range(20))
        assert [job.result(timeout=60) for job in jobs[1::2]] == list(range(20))
        assert client.gather(tasks) == list(range(20, 0, -1))


# ---- what it refuses, before anything starts


@pytest.mark.parametrize("given", [3, 2.5, ["tcp://127.0.0.1:8786"], "", "tcp://", True], ids=repr)
def test_what_is_no_dask_cluster_is_refused_with_what_may_be_given(given: Any) -> None:
    with pytest.raises(AddressError, match=r"distributed\.Client"):
        octapi.Cluster(dask=given)


def test_an_address_and_a_dask_cluster_together_are_refused() -> None:
    with pytest.raises(AddressError, match="two clusters"):
        octapi.Cluster("10.0.0.1:8786", dask="tcp://10.0.0.1:8786")


def test_a_closed_client_and_a_closed_cluster_are_refused(site: DaskSite) -> None:
    client = Client(site.dask.address, set_as_default=False)
    client.close()
    with pytest.raises(AddressError, match="is closed"):
        octapi.Cluster(dask=client)
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as dask:
        pass
    with pytest.raises(ClusterError):
        octapi.Cluster(dask=dask)


async def in_the_loop_of_its_cluster() -> None:
    async with LocalCluster(n_workers=0, processes=False, dashboard_address=":0", asynchronous=True) as dask:
        octapi.Cluster(dask=dask)


def test_a_cluster_that_lives_in_this_threads_loop_is_refused_at_once() -> None:
    import asyncio

    with pytest.raises(AddressError, match="to_thread"):
        asyncio.run(in_the_loop_of_its_cluster())


def test_a_scheduler_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTAPI_PATIENCE_S", "1")
    with pytest.raises(MasterNotFound, match=r"No Dask scheduler answers at tcp://127.0.0.1:1 "):
        octapi.Cluster(dask="tcp://127.0.0.1:1")


@pytest.fixture
def without_octapi(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a process that has no octapi."""
    package = tmp_path / "octapi"
    package.mkdir()
    (package / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'octapi'\", name='octapi')\n")
    return {"PYTHONPATH": str(tmp_path)}


def test_workers_without_octapi_are_named_before_anything_waits(
    processes: DaskProcesses, without_octapi: dict[str, str]
) -> None:
    processes.worker("bare", env=without_octapi)
    with Client(processes.address, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=30)
        with pytest.raises(ClusterError, match=r"workers bare cannot run OctaPi's jobs .*Install octapi"):
            octapi.Cluster(dask=client)
        assert client.submit(abs, -4).result(timeout=60) == 4  # Dask's own tasks go on


def test_jobs_fail_when_every_worker_that_comes_is_without_octapi(
    processes: DaskProcesses, without_octapi: dict[str, str]
) -> None:
    with octapi.Cluster(dask=processes.address) as cluster:
        job = cluster.submit(abs, -1)
        processes.worker("bare", env=without_octapi)

        assert "Install octapi" in str(job.exception(timeout=60))


def test_a_scheduler_without_octapi_is_said(without_octapi: dict[str, str]) -> None:
    processes = DaskProcesses(workers=0, env=without_octapi)
    try:
        with pytest.raises(ClusterError, match=r"Install octapi .* where the scheduler runs"):
            octapi.Cluster(dask=processes.address)
    finally:
        processes.close()


# ---- what it leaves behind


def left(client: Client) -> list[str]:
    """Return the plugins of ours in the scheduler and the workers."""

    def of_scheduler(dask_scheduler: Any) -> list[str]:
        return [name for name in dask_scheduler.plugins if name.startswith("octapi-")]

    def of_worker(dask_worker: Any) -> list[str]:
        return [name for name in dask_worker.plugins if name.startswith("octapi-")]

    return [
        *client.run_on_scheduler(of_scheduler),
        *(name for names in client.run(of_worker).values() for name in names),
    ]


def test_nothing_is_left_in_dask_when_the_cluster_ends(site: DaskSite) -> None:
    with Client(site.dask.address, set_as_default=False) as client:
        with octapi.Cluster(dask=client) as cluster:
            cluster.submit(abs, -3).result(timeout=60)
            assert len(left(client)) == 2
        until(lambda: not left(client))


def test_the_jobs_of_a_script_that_is_killed_stop_and_nothing_is_left(site: DaskSite, tmp_path: Path) -> None:
    code = f"""
import octapi, pathlib, time, os
def work():
    path = pathlib.Path({str(tmp_path)!r})
    (path / "tmp").write_text(str(os.getpid()))
    (path / "tmp").rename(path / "pid")
    time.sleep(1000)
cluster = octapi.Cluster(dask={site.dask.address!r})
cluster.submit(work).result()
"""
    script = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: (tmp_path / "pid").exists())
    kill(script)
    pid = int((tmp_path / "pid").read_text())

    until(lambda: not is_running(pid))
    with Client(site.dask.address, set_as_default=False) as client:
        until(lambda: not left(client))


def is_running(pid: int) -> bool:
    """Say whether a process has not ended; init may let it wait for its burial."""
    path = Path(f"/proc/{pid}/stat")
    try:
        return path.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_dask_is_not_imported_by_scripts_that_do_not_name_it() -> None:
    code = "import sys, octapi\nwith octapi.Cluster('local', slots=1) as c: c.submit(abs, -1).result()\n"
    code += "print([name for name in sys.modules if name.startswith(('distributed', 'dask', 'octapi.dask'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "[]\n"


# ---- Dask clusters that change


def test_jobs_that_have_no_result_fail_when_the_scheduler_is_lost(processes: DaskProcesses, tmp_path: Path) -> None:
    processes.worker("short")
    with Client(processes.address, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=30)
    with octapi.Cluster(dask=processes.address) as cluster:
        done = cluster.submit(abs, -1)
        assert done.result(timeout=60) == 1
        job = cluster.submit(wait_for, str(tmp_path / "never"))
        until(job.running)
        kill(processes.scheduler)
        error = job.exception(timeout=60)
        late = cluster.submit(abs, -2).exception(timeout=60)

    assert isinstance(error, MasterLost)
    assert processes.address in str(error)
    assert "run the script again" in str(error)
    assert isinstance(late, MasterLost)


# ---- its decisions


def pool(name: str, slots: int = 1, **facts: Any) -> DaskPool:
    """Return a pool as a link knows it."""
    return DaskPool(f"tcp://{name}:1", WorkerInfo(name, name, name, slots, "", "3.11.7", **facts), 0.0)


def batch(ident: int = 1, **spec: Any) -> HeldBatch:
    """Return a batch that waits."""
    return HeldBatch(ident, 1, "d", BatchSpec(**spec))


def test_the_pool_that_holds_least_for_its_slots_gets_a_batch() -> None:
    full, half, free = pool("full"), pool("half", 2), pool("free", 2)
    full.held = {1: batch(1), 2: batch(2)}
    half.held = {3: batch(3)}

    assert dask_pools.choose([full, half, free], batch(4), ComputationFacts()) is free
    assert dask_pools.choose([full, half], batch(4), ComputationFacts()) is half
    assert dask_pools.choose([full], batch(4), ComputationFacts()) is None


def test_a_batch_goes_nowhere_it_may_not_run() -> None:
    one, other = pool("one", memory=1), pool("other", memory=2)

    def where(facts: ComputationFacts, **spec: Any) -> DaskPool | None:
        return dask_pools.choose([one, other], batch(9, **spec), facts)

    assert where({}, worker="other") is other
    assert where({"limits": {"other": 1}}) is other
    assert where({"python": "3.99.1"}) is None
    assert where({}, avoid=["one"]) is other
    assert where({}, alone=True) is other
    one.refused.add("d")
    assert where({}) is other
    other.info = other.info._replace(state=SILENT)
    assert where({}) is None


@pytest.mark.parametrize(("wanted", "threads", "workers"), [(0, [], 0), (5, [], 5), (5, [2, 2], 3), (0, [4], 0)])
def test_so_many_workers_are_wanted_as_their_threads_make_slots(wanted: int, threads: list[int], workers: int) -> None:
    assert workers_for(wanted, threads) == workers


def test_only_a_connection_that_broke_says_that_a_job_may_have_ended_its_worker() -> None:
    assert is_broken("handle-worker-cleanup-123.4")
    assert not is_broken("retire-workers-123.4")


def test_workers_are_called_by_their_name_or_else_by_their_place() -> None:
    assert dask_pools.label_of("red", "tcp://10.0.0.1:4000", []) == "red"
    assert dask_pools.label_of("tcp://10.0.0.1:4000", "tcp://10.0.0.1:4000", []) == "10.0.0.1:4000"
    assert dask_pools.label_of("red", "tcp://10.0.0.2:4000", ["red"]) == "10.0.0.2:4000"
