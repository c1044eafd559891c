"""Named attacks on every port of a real cluster: ``python -m tests.security.attacks`` prints what became of each.

With arguments only those whose names match one, such as ``'worker says: *'``; ``-v`` prints each as it ends.

Each must be refused, the master must live, and a script that runs all the while must finish with the right result.
"""

import asyncio
import fnmatch
import logging
import sys
import tempfile
import time
from pathlib import Path

from octapi.text.escape import shown
from tests.security import (
    clients_say,
    dask_side,
    doors,
    here,
    inside_tasks,
    jobs_do,
    neighbours,
    ports,
    pupils,
    stolen_work,
    visitors,
    workers_say,
)
from tests.security.attack_cluster import Field, NotTried, Succeeded
from tests.security.table import ATTACKS, WHO, attacker

#: where the attacks are, which put themselves into the table
ROOMS = (
    ports,
    doors,
    here,
    dask_side,
    inside_tasks,
    workers_say,
    clients_say,
    pupils,
    stolen_work,
    neighbours,
    jobs_do,
    visitors,
)


def wanted(patterns: list[str]) -> list[str]:
    """Return the names of the attacks that match a pattern, or of all where there is none."""
    return [name for name in ATTACKS if not patterns or any(fnmatch.fnmatchcase(name, one) for one in patterns)]


def run_all(field: Field, patterns: list[str] | None = None) -> list[tuple[str, bool | None, str]]:
    """Try every attack, and return its name, whether it was refused (None: it could not be tried), and how."""
    order = sorted(
        wanted(patterns or []), key=lambda name: "secret" in name
    )  # wrong secrets close the door to this address
    rows = []
    for name in order:
        began = time.monotonic()
        rows.append((name, *asyncio.run(one(field, name))))
        if sys.stderr.isatty() or "-v" in sys.argv:
            print(f"{time.monotonic() - began:5.1f} s  {rows[-1]}", file=sys.stderr, flush=True)
    return rows


async def one(field: Field, name: str) -> tuple[bool | None, str]:
    try:
        outcome = await asyncio.wait_for(ATTACKS[name](field), 110)
    except NotTried as why:
        return None, str(why)
    except Succeeded as success:
        return False, str(success)
    except Exception as error:
        return False, f"the attack itself failed: {error!r}"
    return (field.master.process.poll() is None), outcome


def main() -> int:
    """Print the table; the exit code says whether everything was refused."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="octapi-attacks-") as place:
        Path(place).chmod(0o700)
        field = Field(Path(place))
        try:
            rows = run_all(field, [word for word in sys.argv[1:] if word != "-v"])
            field.script.until_says("SUM", 120)
            job = f"SUM {sum(range(1200))}" in field.script.text()
        finally:
            field.close()
    for who in WHO:
        print(f"\n{who}")
        for name, is_refused, outcome in rows:
            if attacker(name) == who and is_refused is not None:
                print(f"  {'refused' if is_refused else 'SUCCEEDED':<9}  {name:<72}  {shown(outcome, 90)}")
    print()
    untried = [row for row in rows if row[1] is None]
    for name, _, why in untried:
        print(f"not tried here: {name}: {why}")
    fate = "finished" if job else "FAILED"
    tried = [row for row in rows if row[1] is not None]
    count = f"{sum(bool(row[1]) for row in tried)} of {len(tried)} refused, {len(untried)} not tried"
    print(f"{count}; the job that ran meanwhile {fate}.")
    return 0 if job and all(row[1] for row in tried) else 1


if __name__ == "__main__":
    sys.exit(main())
