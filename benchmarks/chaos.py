"""``python -m benchmarks.chaos --minutes 60``: the reference workload under random faults, and a table of its outcomes.

It needs root, iproute2 and iptables: each device is a network namespace.  The same seed draws the same faults.
"""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

from tests.chaos.fault_injector import Orchestra
from tests.chaos.schedule import schedule
from tests.chaos.workload import CYCLE
from tests.netns import can_make_rooms

#: faults end so long before the workload does, in seconds
REST_S = 75.0


def measure(minutes, seed):
    """Run without faults and with them; return the figures."""
    began = time.monotonic()
    with Orchestra() as orchestra:
        orchestra.say = lambda text: print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)
        orchestra.say("without faults")
        right = orchestra.run("without", CYCLE, 0.0, [])
        faults = schedule(seed, minutes * 60 - REST_S, len(orchestra.names))
        told = orchestra.run("with", CYCLE, minutes * 60, faults)
        orchestra.rest()
        left = orchestra.stop()
    wrong = told.wrong(right, CYCLE)
    return {
        "faults": dict(sorted(orchestra.injected.items())),
        "poison jobs": sum(n % CYCLE == 101 for n in told.outcomes),
        "jobs out of memory": sum(n % CYCLE == 251 for n in told.outcomes),
        "jobs": told.jobs,
        "without an outcome": told.missing,
        "with two outcomes": told.duplicated,
        "wrong": wrong,
        "not to start twice: lost, and said so": told.lost(),
        "not to start twice: started twice": len(told.twice),
        "executed again after a loss": told.again,
        "longest silence, s": round(told.silence_s, 1),
        "MB at start": told.before,
        "MB at end": told.after,
        "left over": left,
    }


def show(figures):
    """Print a table."""
    print("\n| | |\n| --- | --- |")
    for name, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        elif isinstance(value, list):
            value = len(value)
        print(f"| {name} | {value} |")


def main():
    parser = argparse.ArgumentParser(prog="benchmarks.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", default="", help="a file for the figures")
    options = parser.parse_args()
    if not can_make_rooms():
        parser.error("network namespaces need root, iproute2 and iptables")
    figures = {"machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"}
    figures |= {"minutes": options.minutes, "seed": options.seed} | measure(options.minutes, options.seed)
    show(figures)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
