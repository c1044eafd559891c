"""What the page costs: 30 readers of the event stream, one of them a real Chromium, while 20 workers do 5,000 jobs/s.

    python -m benchmarks.page [--pairs 10] [--seconds 12] [--workers 20] [--rate 5000]

Runs with and without readers alternate.  Processor time and memory of the page's process are read from /proc.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from octapi import Cluster
from octapi.connect import way_to
from octapi.embedded import EmbeddedCluster
from octapi.errors import ClusterError
from octapi.page.beside import Opened

TICKS = os.sysconf("SC_CLK_TCK")


def nothing(number):
    return number


def busy_s(pid):
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid, key="VmHWM"):
    """Return the most memory that a process had at once, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def paced(rate, seconds):
    """Yield numbers, so many a second."""
    began = time.monotonic()
    for number in range(int(rate * seconds)):
        ahead = began + number / rate - time.monotonic()
        if ahead > 0.005:
            time.sleep(ahead)
        yield number


def one_run(cluster, rate, seconds):
    """Return how many jobs a second were done."""
    began = time.monotonic()
    done = sum(1 for _ in cluster.map(nothing, paced(rate, seconds)))
    return done / (time.monotonic() - began)


def start_workers(embedded, count):
    """Start workers one by one; on a busy machine one may take too long, and is tried again."""
    while count:
        try:
            embedded.add_worker(f"worker-{count}")
            count -= 1
        except ClusterError as error:
            print(f"once more: {str(error)[-60:]}", flush=True)


class Readers:
    """Readers of the stream in a process of their own; one more is a Chromium."""

    def __init__(self, link, count):
        self.link = link
        base, _, token = link.partition("/login?token=")
        code = f"from benchmarks.page import read_all; read_all({base!r}, {token!r}, {count - 1})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.stop = threading.Event()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.browse)
        self.thread.start()
        self.process.stdout.readline()
        assert self.ready.wait(60)

    def browse(self):
        from playwright.sync_api import sync_playwright

        with sync_playwright() as driver:
            path = shutil.which("chromium")
            found = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
            page = found.new_page()
            page.goto(self.link)
            page.wait_for_selector(".worker h3")
            self.ready.set()
            self.stop.wait()
            found.close()

    def close(self):
        """End them, and return how many events a second each got."""
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
        print("ready", flush=True)
        began = time.monotonic()
        await asyncio.to_thread(sys.stdin.readline)
        for task in tasks:
            task.cancel()
        print(json.dumps(min(counts) / (time.monotonic() - began)))

    asyncio.run(main())


def open_s(opened):
    """Return how long the API takes to answer with a run and its story, in seconds."""
    base, _, token = opened.link.partition("/login?token=")

    def get(path):
        request = urllib.request.Request(f"{base}/api/v1{path}", headers={"authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    run = next(row for row in get("/runs")["runs"] if row["finished"])
    began = time.monotonic()
    found = get(f"/runs/{run['run']}")
    return time.monotonic() - began, found["finished"]


def measure(options):
    rows = {"without": [], "with": []}
    cpu, events = [], []
    with EmbeddedCluster(workers=0) as embedded:
        start_workers(embedded, options.workers)
        opened = Opened(way_to(embedded.address))
        pid, scheduler = opened._process.pid, embedded.processes[0].pid
        try:
            with Cluster(embedded.address, progress=False) as cluster:
                one_run(cluster, options.rate, 3)
                for pair in range(options.pairs):
                    for kind in ("without", "with") if pair % 2 else ("with", "without"):
                        readers = Readers(opened.link, options.readers) if kind == "with" else None
                        began, spent, master = time.monotonic(), busy_s(pid), busy_s(scheduler)
                        done = one_run(cluster, options.rate, options.seconds)
                        took = time.monotonic() - began
                        share = (busy_s(pid) - spent) / took
                        rows[kind].append((done, (busy_s(scheduler) - master) / took))
                        if readers is not None:
                            events.append(readers.close())
                            cpu.append(share)
                        print(f"{kind:<8} {done:8.0f} jobs/s, page {share:6.1%} of a core", flush=True)
                peak = memory_mb(pid)
                if options.many:
                    list_many(cluster, options.many)
                    took, jobs = open_s(opened)
                    print(f"a run of {jobs:,} jobs opens in {took:.3f} s")
        finally:
            opened.close()
    report(rows, cpu, events, peak, options)


def list_many(cluster, count):
    """Do very many jobs."""
    done = sum(1 for _ in cluster.map(nothing, range(count), ordered=False))
    time.sleep(2)
    assert done == count


def report(rows, cpu, events, peak, options):
    median = statistics.median
    without, with_ = (median(row[0] for row in rows[kind]) for kind in ("without", "with"))
    print(f"\n{options.workers} workers, {options.rate} jobs/s, {options.readers} readers, {options.pairs} pairs")
    print(f"jobs a second, median       without {without:,.0f}, with {with_:,.0f} ({with_ / without - 1:+.1%})")
    for kind in ("without", "with"):
        print(f"scheduler's process, {kind:<8} {median(row[1] for row in rows[kind]):.1%} of a core")
    print(f"page's process              {median(cpu):.1%} of a core, the most {max(cpu):.1%}")
    print(f"page's memory, the most     {peak:.0f} MB")
    print(f"updates of the slowest reader {min(events):.1f} a second")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--readers", type=int, default=30)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--many", type=int, default=0)
    measure(parser.parse_args())
