"""``python -m benchmarks [NAME ...]``: all contenders side by side, round by round, and a table of ratios.

Peers may live in an environment of their own: OCTAPI_BENCH_PEERS names its Python. So may an earlier state of OctaPi:
OCTAPI_BENCH_BEFORE.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import memory, start, trust

HERE = Path(__file__).parent
TIMEOUT_S = 240
BEFORE = ", before"
#: measure: unit, whether more is better, and each contender with how many jobs it gets
PLAN = {
    "submit": (
        "jobs/s",
        {
            "octapi dispy": 100_000,
            "octapi dispy cluster": 100_000,
            "octapi cluster": 50_000,
            "octapi": 50_000,
            "dispy": 400,
            "dask": 2_000,
            "ray": 3_000,
            "ipyparallel": 1_000,
            "parsl": 2_000,
            "cf": 10_000,
            "pool": 20_000,
        },
    ),
    "map": (
        "items/s",
        {
            "octapi": 1_000_000,
            "octapi cluster": 1_000_000,
            "joblib": 200_000,
            "cf": 200_000,
            "pool": 1_000_000,
            "dask": 2_000,
            "ipyparallel": 200_000,
        },
    ),
    "primality": (
        "s",
        {
            "octapi dispy cluster": 20_000,
            "octapi dispy": 20_000,
            "octapi cluster": 20_000,
            "cf": 20_000,
            "pool": 20_000,
        },
    ),
    "primality_map": (
        "s",
        {"octapi": 20_000, "octapi cluster": 20_000, "pool": 20_000, "joblib": 20_000, "cf": 20_000},
    ),
    "efficiency": ("", {"octapi cluster": 20, "octapi dispy cluster": 20, "cf": 20, "dask": 20, "ray": 20}),
    "argument": ("MB/s", dict.fromkeys(("octapi cluster", "octapi", "dask", "cf"), 100_000_000)),
    "result": ("MB/s", dict.fromkeys(("octapi cluster", "octapi", "dask", "cf"), 100_000_000)),
    "round_trip": ("ms", {"octapi cluster": 200, "octapi": 200, "dask": 100, "ray": 100, "parsl": 100, "cf": 100}),
}


def interpreter(contender):
    """Which Python runs it: peers and an earlier state of OctaPi may live in environments of their own."""
    if contender.endswith(BEFORE):
        return os.environ["OCTAPI_BENCH_BEFORE"]
    return sys.executable if contender.startswith("octapi") else os.environ.get("OCTAPI_BENCH_PEERS", sys.executable)


def contenders(plan):
    """Return the plan, each of OctaPi's rows followed by the same of the earlier state, if there is one."""
    if "OCTAPI_BENCH_BEFORE" not in os.environ:
        return plan
    found = {}
    for name, count in plan.items():
        found[name] = count
        if name.startswith("octapi"):
            found[name + BEFORE] = count
    return found


def one(contender, measure, count):
    """Measure one contender once; None if it is not installed or fails, with the reason on stderr."""
    python = interpreter(contender)
    command = [python, str(HERE / "contenders.py"), contender.removesuffix(BEFORE), measure, str(count)]
    env = dict(os.environ)
    if not contender.startswith("octapi"):  # peers' own processes import the functions and find their programs
        env.update(PYTHONPATH=str(HERE), PATH=os.pathsep.join((str(Path(python).parent), env.get("PATH", ""))))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=env)
    except subprocess.TimeoutExpired:
        print(f"  {contender}: no end after {TIMEOUT_S} s", file=sys.stderr)
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("MEASURED ")]
    if not lines:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"  {contender}: {last}", file=sys.stderr)
        return None
    return figure(measure, float(lines[-1].split()[1]), count)


def figure(measure, value, count):
    """Turn seconds into the measure's unit."""
    if measure in ("submit", "map"):
        return count / value
    if measure in ("argument", "result"):
        return count / value / 1e6
    return value * 1000 if measure == "round_trip" else value


def compare(measure, repeat):
    """Measure all contenders in turn, ``repeat`` times; return each one's median."""
    unit, plan = PLAN[measure]
    plan = contenders(plan)
    found = {name: [] for name in plan}
    for turn in range(repeat):
        for name, count in plan.items():
            print(f"{measure}, round {turn + 1} of {repeat}: {name}", file=sys.stderr, flush=True)
            value = one(name, measure, count) if found[name] is not None else None
            if value is None:
                found[name] = None
            else:
                found[name].append(value)
    return unit, {name: statistics.median(values) if values else None for name, values in found.items()}


def show(measure, unit, medians):
    """Print a table; the ratios say how many times better the first row is."""
    first = next(iter(medians.values()))
    up = unit in ("jobs/s", "items/s", "MB/s", "")
    print(f"\n{measure}\n| contender | {unit or 'share'} | first row is better by |\n| --- | --- | --- |")
    for name, value in medians.items():
        if value is None:
            print(f"| {name} | not installed, or failed | |")
        elif first is not None:
            ratio = first / value if up else value / first
            text = f"{value:,.0f}" if value >= 100 else f"{value:.3f}"
            print(f"| {name} | {text} | {ratio:.2f} x |")


def extra(name, repeat, scale):
    """Run a measurement that is about OctaPi alone."""
    if name == "start":
        return {key: round(value, 3) for key, value in start.measure(repeat).items()}
    if name == "tls":
        return trust.tls(max(repeat, 5))
    if name == "joining":
        return trust.joining(max(repeat, 5))
    if name == "memory":
        ours = statistics.median(memory.idle_worker() for _ in range(repeat))
        return {"worker with 4 slots, MB": round(ours), "4 Dask workers with nanny, MB": round(memory.dask_workers())}
    code, count = (memory.MILLION, 1_000_000) if name == "million" else (memory.ITEMS, 100_000_000)
    return {"(jobs, client MB, master MB)": memory.growth(code, int(count * scale))}


EXTRAS = ("start", "memory", "tls", "joining", "million", "items")


def main():
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"any of {', '.join([*PLAN, *EXTRAS])}; all but items by default")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the jobs in million and items")
    parser.add_argument("--json", default="", help="a file for the figures")
    options = parser.parse_args()
    figures = {"machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"}
    for name in options.names or [*PLAN, *EXTRAS[:5]]:
        if name in PLAN:
            unit, medians = compare(name, options.repeat)
            show(name, unit, medians)
            figures[name] = {"unit": unit, **medians}
        else:
            figures[name] = extra(name, options.repeat, options.scale)
            print(f"\n{name}: {json.dumps(figures[name], indent=2)}")
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
