"""What trust costs: TLS against plain connections, round by round, and how long joining takes."""

import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
OCTAPI = [sys.executable, "-m", "octapi.cli.app"]
#: contender and measure, and how many jobs
MEASURES = {
    ("octapi dispy at", "submit"): 150_000,
    ("octapi at", "submit"): 50_000,
    ("octapi at", "map"): 2_000_000,
    ("octapi at", "round_trip"): 300,
}


def until(stream, words):
    """Read lines until one holds all ``words``; return it."""
    for line in stream:
        if all(word in line for word in words):
            return line
    raise RuntimeError(f"it ended before it said {words}")


@contextlib.contextmanager
def running(arguments, words, home, given=None):
    """Run a command of OctaPi in a home of its own, and yield the line that says that it is ready."""
    home.mkdir(mode=0o700, exist_ok=True)
    env = dict(os.environ, OCTAPI_HOME=str(home))
    process = subprocess.Popen(
        [*OCTAPI, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=env,
    )
    try:
        if given is not None:
            process.stdin.write(given + "\n")
        process.stdin.close()
        yield until(process.stdout, words)
    finally:
        process.terminate()
        process.stdout.close()
        process.wait()


@contextlib.contextmanager
def plain_cluster(place):
    """Yield the address of a master without encryption, with two workers."""
    with contextlib.ExitStack() as stack:
        ports = ["--port", "0", "--dask-port", "0"]
        line = stack.enter_context(running(["master", "--insecure", *ports], ["clients at"], place / "plain"))
        clients, workers = re.findall(r"(?:clients|workers) at ([0-9.:]+)", line)
        for name in ("one", "two"):
            flags = ["worker", workers, "--insecure", "--slots", "1", "--name", name]
            stack.enter_context(running(flags, ["joined"], place / name))
        yield clients


def measured(contender, measure, count, **env):
    """Return seconds of one contender."""
    command = [sys.executable, str(HERE / "contenders.py"), contender, measure, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ, **env))
    return float(done.stdout.split("MEASURED ")[1].split()[0])


def tls(repeat):
    """Return, for each measure, what share of the plain cluster's speed the secured one has."""
    from octapi.testing import EmbeddedCluster

    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        secured = stack.enter_context(EmbeddedCluster(workers=2, slots=1))
        plain = stack.enter_context(plain_cluster(place))
        ways = {
            "secured": {"OCTAPI_BENCH_ADDRESS": secured.address},
            "plain": {"OCTAPI_BENCH_ADDRESS": plain, "OCTAPI_INSECURE": "1"},
        }
        found = {}
        for (contender, measure), count in MEASURES.items():
            seconds = {name: [] for name in ways}
            for turn in range(repeat):
                for name in ways if turn % 2 else reversed(ways):
                    seconds[name].append(measured(contender, measure, count, **ways[name]))
            medians = {name: statistics.median(values) for name, values in seconds.items()}
            found[f"{contender.removesuffix(' at')} {measure}"] = {
                "jobs a second, secured": round(count / medians["secured"]),
                "jobs a second, plain": round(count / medians["plain"]),
                "share of the plain speed": round(medians["plain"] / medians["secured"], 3),
            }
            if measure == "round_trip":
                found[f"{contender.removesuffix(' at')} {measure}"] = {
                    "ms, secured": round(medians["secured"] * 1000, 3),
                    "ms, plain": round(medians["plain"] * 1000, 3),
                }
    return found


def joining(repeat):
    """Return the seconds from the start of ``octapi worker`` or ``octapi login`` to membership, medians."""
    with tempfile.TemporaryDirectory() as text:
        place = Path(text)
        ports = ["--join-port", "0", "--port", "0", "--dask-port", "0", "--listen", "127.0.0.1"]
        times = {"worker that joins": [], "worker that is a member": [], "login": []}
        with running(["master", *ports], ["joins at"], place / "master"):
            for turn in range(repeat):
                worker, client = (token(place / "master", role) for role in ("worker", "client"))
                home = place / f"w{turn}"
                flags = ["--name", f"w{turn}", "--slots", "1", "--ssh-port", "0"]
                times["worker that joins"].append(ready(["worker", "-", *flags], home, worker))
                times["worker that is a member"].append(ready(["worker", *flags], home))
                began = time.perf_counter()
                env = dict(os.environ, OCTAPI_HOME=str(place / f"c{turn}"))
                command = [*OCTAPI, "login", "-", "--name", f"c{turn}"]
                subprocess.run(command, input=client, text=True, check=True, env=env, stdout=subprocess.DEVNULL)
                times["login"].append(time.perf_counter() - began)
    return {f"{name}, s": round(statistics.median(values), 2) for name, values in times.items()}


def ready(arguments, home, given=None):
    """Return the seconds until a worker works."""
    began = time.perf_counter()
    with running(arguments, ["works for"], home, given):
        return time.perf_counter() - began


def token(home, role):
    """Make a token."""
    command = [*OCTAPI, "token", "create", "--show", "--role", role]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=dict(os.environ, OCTAPI_HOME=str(home))
    )
    return done.stdout.split()[-1]
