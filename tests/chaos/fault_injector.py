"""The orchestrator: a master, workers and a client on hosts of their own, and the faults that are done to them."""

import contextlib
import itertools
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.schedule import Fault
from tests.harness import Running, Yard, until
from tests.netns import Room

WORKLOAD = Path(__file__).with_name("workload.py")
ENV = {"OCTAPI_SLOT_MEMORY_MB": "300", "OCTAPI_RECONNECT_S": "300"}
#: how long a run may go on after its last fault, in seconds
PATIENCE_S = 150.0


class Orchestra:
    """One cluster on network namespaces; a context manager that takes everything away."""

    def __init__(self, workers: int = 3) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="octapi-chaos-"))
        self.place.chmod(0o777)
        self.yard = Yard(self.place)
        self.room = Room()
        self.names = [f"w{number}" for number in range(workers)]
        self.prefix = {"m": self.room.host("m", "10.98.0.1"), "c": self.room.host("c", "10.98.0.2")}
        self.prefix |= {name: self.room.host(name, f"10.98.0.{10 + n}") for n, name in enumerate(self.names)}
        self.running: dict[str, Running] = {}
        self.injected: Counter[str] = Counter()
        self.say: Callable[[str], None] = lambda _: None
        #: one fault at a time for each device
        self.locks = {name: threading.Lock() for name in self.prefix}
        self.pids: set[int] = set()

    def __enter__(self) -> "Orchestra":
        try:
            self._start_master()
            token = self.yard.token()
            for name in self.names:
                self._start_worker(name, token)
            login = self.yard.token("--role", "client")
            self.yard.command("client", "login", login, prefix=self.prefix["c"])
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, and take hosts and files away."""
        for name in self.prefix:
            self._open(name)
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.resume()
        self.yard.close()
        self.room.close()
        shutil.rmtree(self.place, ignore_errors=True)

    # ---- devices

    def _start_master(self) -> None:
        self.running["m"] = self.yard.master(
            "--listen", "0.0.0.0", prefix=self.prefix["m"], ports=("8785", "8786", "8788"), env=ENV
        )

    def _start_worker(self, name: str, token: str = "") -> None:
        scratch = self.yard.home(name) / "tmp"
        scratch.mkdir(exist_ok=True)
        env = ENV | {"TMPDIR": str(scratch)}
        self.running[name] = self.yard.start_worker(name, token, prefix=self.prefix[name], env=env)
        if token:
            self.running[name].until_says(f"{name} works for", 60)

    def processes(self, name: str = "") -> Iterator[psutil.Process]:
        """Return the processes of a device, or of all, parents first."""
        for found, running in self.running.items():
            if name in ("", found) and running.process.poll() is None:
                with contextlib.suppress(psutil.Error):
                    top = psutil.Process(running.process.pid)
                    yield from (top, *top.children(recursive=True))

    def slots(self, name: str) -> list[psutil.Process]:
        """Return a worker's slots: the children of its zygote."""
        found = []
        for process in self.processes(name):
            with contextlib.suppress(psutil.Error):
                parent = process.parent()
                if parent is not None and any("octapi.pool.forkserver" in part for part in parent.cmdline()):
                    found.append(process)
        return found

    def memory_mb(self) -> dict[str, int]:
        """Return how many megabytes master and workers hold."""
        sums: Counter[str] = Counter()
        for name in self.running:
            for process in self.processes(name):
                with contextlib.suppress(psutil.Error):
                    sums[name] += process.memory_info().rss >> 20
        workers = [sums[name] for name in self.names]
        return {"master": sums["m"], "a worker": max(workers, default=0), "client": sums["c"]}

    # ---- faults

    def do(self, fault: Fault) -> None:
        """Do one fault, and undo it when its time is over."""
        name = self.names[fault.worker]
        target = "m" if fault.kind.startswith("master") else "c" if fault.kind.startswith("client") else name
        with self.locks[target]:
            self.say(f"{fault.kind}: {target}")
            self.injected[fault.kind] += 1
            getattr(self, "_" + fault.kind.split()[1])(target, fault)

    def _killed(self, target: str, fault: Fault) -> None:
        if fault.kind.startswith("slot"):
            return self._signal_slot(target, signal.SIGKILL)
        self.pids |= {process.pid for process in self.processes(target)}
        for process in list(self.processes(target))[: None if target == "m" else 1]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.running[target].stop()
        time.sleep(fault.lasts)
        return self._start_master() if target == "m" else self._start_worker(target)

    def _signal_slot(self, target: str, number: int) -> None:
        slots = self.slots(target)
        if slots:
            with contextlib.suppress(psutil.Error):
                slots[-1].send_signal(number)

    def _frozen(self, target: str, fault: Fault) -> None:
        if fault.kind.startswith("slot"):
            return self._signal_slot(target, signal.SIGSTOP)
        family = list(self.processes(target))
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.suspend()
        time.sleep(fault.lasts)
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.resume()
        return None

    def _cut(self, target: str, fault: Fault) -> None:
        self._shut(target)
        time.sleep(fault.lasts)
        self._open(target)

    def _flapping(self, target: str, fault: Fault) -> None:
        until_s = time.monotonic() + fault.lasts
        self._rule(target, "-A", "-m", "statistic", "--mode", "random", "--probability", "0.05", "-j", "DROP")
        while time.monotonic() < until_s:
            self._shut(target)
            time.sleep(1)
            self._rule(target, "-D", "-j", "DROP")
            time.sleep(1)
        self._open(target)

    def _shut(self, target: str) -> None:
        self._rule(target, "-I", "-j", "DROP")

    def _open(self, target: str) -> None:
        for chain in ("INPUT", "OUTPUT"):
            subprocess.run([*self.prefix[target], "iptables", "-F", chain], check=False, capture_output=True)

    def _rule(self, target: str, how: str, *rule: str) -> None:
        for chain, way in (("INPUT", "-i"), ("OUTPUT", "-o")):
            command = [*self.prefix[target], "iptables", how, chain, way, "eth0", *rule]
            subprocess.run(command, check=True, capture_output=True)

    # ---- runs

    def run(self, name: str, jobs: int, seconds: float, faults: list[Fault]) -> "Told":
        """Run the workload, doing faults to the cluster meanwhile, and return what it was told."""
        place = self.place / name
        place.mkdir(mode=0o777)
        place.chmod(0o777)
        command = [*self.prefix["c"], sys.executable, str(WORKLOAD), str(place), str(jobs), str(seconds)]
        script = Running(command, self.yard.home("client"), env=ENV)
        self.yard.running.append(script)
        self.running["c"] = script
        until(lambda: (place / "outcomes").exists() and (place / "outcomes").stat().st_size, 60)
        before = self.memory_mb()
        doing = self._begin(faults)
        for thread in doing:
            thread.join()
        after = self.memory_mb()
        code = script.wait(PATIENCE_S + seconds)
        assert code == 0, f"the script ended with {code}:\n{script.text()}"
        return Told(place, before, after, script.text())

    def _begin(self, faults: list[Fault]) -> list[threading.Thread]:
        began = time.monotonic()
        doing = []
        for fault in faults:
            time.sleep(max(0.0, fault.at - (time.monotonic() - began)))
            if self.running["c"].process.poll() is not None:
                break
            thread = threading.Thread(target=self.do, args=(fault,))
            thread.start()
            doing.append(thread)
        return doing

    # ---- afterwards

    def rest(self) -> None:
        """Wait until the cluster is as before: all workers well, no job held, each slot free for work."""
        until(lambda: self._states() == dict.fromkeys(self.names, "ok"), 60)
        until(lambda: self._ask("jobs", "--json") == [], 60)
        code = (
            "import octapi, time\n"
            f"with octapi.Cluster() as c: print([j.result() for j in [c.options(worker=w).submit(abs, -1) "
            f"for w in {self.names!r}]])"
        )
        assert "[1, 1, 1]" in self.yard.run("client", code, prefix=self.prefix["c"])

    def _states(self) -> dict[str, str]:
        return {row["name"]: row.get("state", "away") for row in self._ask("nodes", "--json")}

    def _ask(self, *command: str) -> Any:
        return json.loads(self.yard.command("client", *command, prefix=self.prefix["c"]))

    def stop(self) -> list[str]:
        """Stop all devices, and return what is left of them: processes and files."""
        pids = self.pids | {process.pid for process in self.processes()}
        self.yard.close()
        left = [f"process {pid}" for pid in pids if self._is_ours(pid)]
        for name in self.names:
            scratch = self.yard.home(name) / "tmp"  # Dask keeps two lock files there, which are used again
            left += [str(path) for path in scratch.rglob("*") if not path.is_dir() and path.suffix != ".lock"]
        return left

    def _is_ours(self, pid: int) -> bool:
        try:
            return str(self.place) in " ".join(
                psutil.Process(pid).environ().get(key, "") for key in ("OCTAPI_HOME", "TMPDIR")
            )
        except psutil.Error:
            return False


class Told:
    """What a run of the workload was told, and what it took."""

    def __init__(self, place: Path, before: dict[str, int], after: dict[str, int], said: str) -> None:
        rows = [json.loads(line) for line in (place / "outcomes").read_text().splitlines()]
        self.jobs = int((place / "ended").read_text())
        self.before, self.after, self.said = before, after, said
        self.outcomes: dict[int, str] = {n: outcome for n, outcome, _, _ in rows}
        times = Counter(n for n, *_ in rows)
        self.duplicated = sum(count > 1 for count in times.values())
        self.missing = self.jobs - len(times)
        moments = sorted(at for _, _, at, _ in rows)
        self.silence_s = max((b - a for a, b in itertools.pairwise(moments)), default=0.0)
        ran = Counter(int(line) for path in place.glob("ran.*") for line in path.read_text().split())
        self.twice = [n for n in self.outcomes if n % 10 == 3 and ran[n] > 1]
        self.again = sum(count - 1 for count in ran.values())

    def wrong(self, right: "Told", cycle: int) -> list[str]:
        """Compare one by one with a run without faults; a job that may not start twice may end as lost, and say so."""
        found = []
        for n, outcome in sorted(self.outcomes.items()):
            expected = right.outcomes[n % cycle]
            allowed = {expected, "lost", "crashed"} if n % 10 == 3 else {expected}
            if outcome not in allowed:
                found.append(f"job {n}: {outcome}, not {expected}")
        return found

    def lost(self) -> int:
        """Return how many jobs that may not start twice were lost with their worker or slot, and said so."""
        return sum(outcome in ("lost", "crashed") for n, outcome in self.outcomes.items() if n % 10 == 3)
