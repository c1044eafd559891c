"""What the page costs: 30 readers of the event stream, one of them a real Chromium, while 20 workers do 5,000 jobs/s.

    python -m benchmarks.page [--pairs 10] [--seconds 10]

The workers are simulated: a master that holds no jobs tells the real page what 20 real workers would make it tell.
Then real jobs run, with and without somebody who watches, turn by turn.  Processor time and memory come from /proc.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parent.parent))

from octapi import Cluster
from octapi.client.connect import way_to
from octapi.client.endpoint import MasterEndpoint
from octapi.master.gateway.placement import WorkerRecord
from octapi.master.gateway.session import ClientSession
from octapi.master.gateway.subscriptions import TICK_S, Subscriptions
from octapi.page.local_page import Opened
from octapi.protocol import wire
from octapi.telemetry.run_trace import RunTrace
from octapi.testing import EmbeddedCluster

TICKS = os.sysconf("SC_CLK_TCK")
FACTS = {
    "address": "10.0.0.1", "host": "pi", "slots": 4, "platform": "Linux-6.12", "python": "3.13.1", "memory": 1 << 30,
    "health": {"cpu": 3.0, "memory": 1 << 29, "disk": 1 << 33}, "release": "0.1.0", "life": "",
}  # fmt: skip


def nothing(number):
    return number


def busy_s(pid):
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid):
    """Return the most memory that a process had at once, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


class Simulation:
    """A master whose workers do jobs that nobody does; in a thread of this process."""

    def __init__(self, workers, rate):
        self.rate = rate
        self.workers = workers
        self.port = 0
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.main()), daemon=True)
        self.thread.start()
        self.ready.wait()

    async def main(self):
        loop = asyncio.get_running_loop()
        self.agents = [
            WorkerRecord(f"tcp://{n}", FACTS | {"name": f"pi-{n:03}"}, loop.time()) for n in range(1, self.workers + 1)
        ]
        self.client = ClientSession(None, {"script": "simulated.py", "user": "ann", "host": "lap"})
        self.client.run, self.client.computations = "261124-000000-sim", {"d": (b"", {"name": "work"})}
        self.client.summary = {"waiting": 10**6, "running": 160, "functions": ["work"], "slots": 4 * self.workers}
        self.watching = Subscriptions(lambda: self.agents, lambda: [self.client], time.time)
        self.story = RunTrace(time.time())
        self.watching.start()
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        while True:
            await asyncio.sleep(TICK_S)
            self.work()

    def work(self):
        now, jobs = time.time(), int(self.rate * TICK_S / self.workers)
        for number, agent in enumerate(self.agents):
            self.story.took(agent.name, "work", now - TICK_S, now, jobs, number == 3, 4 * TICK_S)
            self.story.piece(now - TICK_S, TICK_S, agent.name, "work", "ok", jobs)
            agent.beats += 40
            agent.heard_at = asyncio.get_running_loop().time()
            agent.info["health"] = FACTS["health"] | {"cpu": float(agent.beats % 7)}
            held = (SimpleNamespace(client=self.client, digest="d", ident=agent.beats + n) for n in range(4))
            agent.held = {("s", one.ident): one for one in held}
        news = self.story.changes()
        self.client.take_story(news)
        self.watching.story(self.client, news)

    async def serve(self, reader, writer):
        other = SimpleNamespace(number=id(writer), send=lambda *message: writer.write(wire.pack(message)), facts={})
        try:
            while True:
                kind, *_ = await wire.read_frame(reader)
                if kind == "hello":
                    other.send("welcome", {"time": time.time(), "workers": []})
                elif kind == "watch":
                    self.watching.add(other)
        except (asyncio.IncompleteReadError, OSError):
            self.watching.remove(other)
            writer.close()


class Readers:
    """Readers of the stream in a process of their own; one more is a Chromium."""

    def __init__(self, link, count):
        base, _, token = link.partition("/login?token=")
        code = f"from benchmarks.page import read_all; read_all({base!r}, {token!r}, {count - 1})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.link = link
        self.stop, self.ready = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.browse)
        self.thread.start()
        self.process.stdout.readline()
        assert self.ready.wait(90)

    def browse(self):
        from playwright.sync_api import sync_playwright

        with sync_playwright() as driver:
            path = shutil.which("chromium")
            found = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
            page = found.new_page()
            page.goto(self.link)
            page.wait_for_selector(".worker h3", timeout=90_000)
            self.ready.set()
            self.stop.wait()
            found.close()

    def close(self):
        """End them, and return how many events a second the slowest got."""
        self.stop.set()
        self.thread.join()
        return json.loads(self.process.communicate("\n")[0])


def read_all(base, token, count):
    """Read the stream so many times until a line comes; runs in a process of its own."""
    host, _, port = base.removeprefix("http://").partition(":")

    async def read(counts, place):
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
        head = f"GET /api/v1/events HTTP/1.1\r\nhost: {host}:{port}\r\nauthorization: Bearer {token}\r\n\r\n"
        writer.write(head.encode())
        while line := await reader.readline():
            counts[place] += line.startswith(b"event: state")

    async def main():
        counts = [0] * count
        tasks = [asyncio.create_task(read(counts, place)) for place in range(count)]
        while min(counts) < 2:  # noqa: ASYNC110 - counts are numbers, not events
            await asyncio.sleep(0.1)
        before, began = list(counts), time.monotonic()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        took = time.monotonic() - began
        print(json.dumps(min(now - then for now, then in zip(counts, before, strict=True)) / took))
        for task in tasks:
            task.cancel()

    asyncio.run(main())


def cost(options):
    """Measure the page's part."""
    simulation = Simulation(options.workers, options.rate)
    rows = []
    opened = Opened(MasterEndpoint([("127.0.0.1", simulation.port)], None, insecure=True))
    pid = opened._process.pid
    try:
        for _ in range(options.pairs):
            readers = Readers(opened.link, options.readers)
            began, spent = time.monotonic(), busy_s(pid)
            time.sleep(options.seconds)
            share = (busy_s(pid) - spent) / (time.monotonic() - began)
            rows.append((share, readers.close()))
            print(f"page {rows[-1][0]:6.1%} of a core, slowest reader {rows[-1][1]:.2f} updates/s", flush=True)
        peak = memory_mb(pid)
        began = time.monotonic()
        time.sleep(20)
        spent = busy_s(pid)
        time.sleep(10)
        idle = busy_s(pid) - spent
    finally:
        opened.close()
    print(f"page's process, median      {statistics.median(row[0] for row in rows):.1%} of a core")
    print(f"page's process, the most    {max(row[0] for row in rows):.1%} of a core")
    print(f"memory, the most            {peak:.0f} MB")
    print(f"updates of the slowest      {min(row[1] for row in rows):.2f} a second")
    print(f"while nobody looks          {idle / 10:.2%} of a core")


def throughput(options):
    """Measure what watching costs the jobs: processor time of script and master, and jobs a second."""
    found = {"without": [], "with": []}
    with EmbeddedCluster(workers=1, slots=2) as embedded:
        opened = Opened(way_to(embedded.address))
        base, _, token = opened.link.partition("/login?token=")
        head = {"authorization": f"Bearer {token}"}
        try:
            with Cluster(embedded.address, progress=False) as cluster:
                sum(cluster.map(nothing, range(options.jobs)))
                for pair in range(options.pairs):
                    for kind in ("without", "with") if pair % 2 else ("with", "without"):
                        stream = None
                        if kind == "with":
                            stream = urllib.request.urlopen(
                                urllib.request.Request(f"{base}/api/v1/events", headers=head)
                            )
                        pids = (os.getpid(), embedded.processes[0].pid)
                        began, spent = time.monotonic(), sum(map(busy_s, pids))
                        sum(cluster.map(nothing, range(options.jobs)))
                        took, spent = time.monotonic() - began, sum(map(busy_s, pids)) - spent
                        found[kind].append((spent, options.jobs / took))
                        if stream is not None:
                            stream.close()
                request = urllib.request.Request(f"{base}/api/v1/runs", headers=head)
                run = json.load(urllib.request.urlopen(request))["runs"][0]
                request = urllib.request.Request(f"{base}/api/v1/runs/{run['run']}", headers=head)
                began = time.monotonic()
                jobs = json.load(urllib.request.urlopen(request))["finished"]
                took = time.monotonic() - began
        finally:
            opened.close()
    for at, title in ((0, "processor time of script and master, s"), (1, "jobs a second")):
        without, with_ = (statistics.median(row[at] for row in found[kind]) for kind in ("without", "with"))
        print(f"{title:<40} without {without:,.2f}, watched {with_:,.2f} ({with_ / without - 1:+.1%})")
    print(f"a run of {jobs:,} jobs opens in {took:.3f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name, value in (("pairs", 10), ("seconds", 10), ("workers", 20), ("readers", 30), ("rate", 5000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    chosen = parser.parse_args()
    os.environ.setdefault("OCTAPI_HOME", tempfile.mkdtemp(prefix="octapi-bench-"))
    cost(chosen)
    throughput(chosen)
