"""The two parts of the tests, and what was skipped: for scripts/test.

A test needs services when one of its fixtures starts a master, a browser, containers or separate hosts, or when its
file does.  The quick part is all the others.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

#: fixtures that start what takes long
SERVICES = frozenset(
    "yard doors embedded image engine site room scene sight watched world bench node desk chromium".split()
)
#: directories and files of tests that start it themselves, or take long
FILES = (
    *("chaos/", "containers/", "monitoring/", "security/test_attacks.py", "dispy/test_side_by_side.py", "test_docs.py"),
    *("test_arm.py", "test_dask.py", "faults/test_huge.py", "faults/test_workers.py", "faults/test_fork_servers.py"),
    *("faults/test_jobs.py", "dispy/test_failures.py", "dispy/test_nodes.py", "store/test_history.py"),
    *("install/test_wheels.py", "page/test_browser.py", "faults/test_states.py", "faults/test_injection.py"),
    *("dispy/test_octapi_lessons.py", "test_cpython.py", "test_lifetime.py", "test_travels.py", "now/"),
)
#: what a test that starts it itself names
NAMES = frozenset("EmbeddedCluster Yard Room Project Sight World Field OCTAPI Running".split())
#: words of a reason, and what has to be installed or done to have the tests that it skips
REMEDIES = (
    ("container engine", "apt-get install docker.io, and the right to use it"),
    ("sshd", "apt-get install openssh-server"),
    ("Chromium", "apt-get install chromium"),
    ("promtool", "apt-get install promtool (Debian 12: prometheus)"),
    ("prometheus-node-exporter", "apt-get install prometheus-node-exporter"),
    ("prometheus", "apt-get install prometheus"),
    ("network namespaces", "apt-get install iproute2 iptables; run it as root, with CAP_NET_ADMIN"),
    ("iptables", "apt-get install iproute2 iptables; run it as root, with CAP_NET_ADMIN"),
    ("faketime", "apt-get install faketime"),
    ("mount", "run it as root, with CAP_SYS_ADMIN"),
    ("only root", "run it as root"),
    ("other account", "put the checkout where every account may read it, or /usr/bin/python3 of 3.11 or newer"),
    ("libpython's testsuite", "a Debian package for this Python: libpythonX.Y-testsuite"),
    ("package index", "a way to the package index"),
)


def needs_services(fixtures: set[str], names: set[str], path: str) -> bool:
    """Say whether a test is in the slow part, by its fixtures, the names in its code, and its file."""
    return bool(fixtures & SERVICES or names & NAMES) or any(part in path for part in FILES)


def remedy(reason: str) -> str:
    """Return what has to be done to have a test that was skipped for a reason."""
    return next((text for words, text in REMEDIES if words in reason), "")


def reason_of(report: Any) -> tuple[str, str, int]:
    """Return file, reason and number of the tests that a report says were skipped."""
    path, _, reason = (
        report.longrepr if isinstance(report.longrepr, tuple) else (report.nodeid, 0, str(report.longrepr))
    )
    file = report.nodeid.partition("::")[0] or str(path)
    is_module = "::" not in report.nodeid
    text = Path(report.fspath if is_module else path).read_text(encoding="utf-8") if is_module else ""
    return file, reason.removeprefix("Skipped: "), max(1, text.count("\ndef test_")) if is_module else 1


def rows(reports: list[Any]) -> list[tuple[str, str, int]]:
    """Return file, reason and number, one row for each pair; a file that is skipped whole is told by each process."""
    found: Counter[tuple[str, str]] = Counter()
    for node in {report.nodeid: report for report in reports}.values():
        file, reason, number = reason_of(node)
        found[file, reason] += number
    return [(file, reason, number) for (file, reason), number in sorted(found.items())]


def table(found: list[tuple[str, str, int]]) -> str:
    """Return the table of what was skipped: what, how many, why, and what to do."""
    if not found:
        return "No test was skipped."
    lines = [("what", "tests", "why", "what to install or do")]
    lines += [(file, str(number), reason, remedy(reason)) for file, reason, number in found]
    widths = [min(60, max(len(row[column]) for row in lines)) for column in range(3)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + f"  {row[3]}" for row in lines
    ]
    total = sum(number for _, _, number in found)
    return "\n".join([f"Skipped: {total} tests", *(line.rstrip() for line in text)])


def keep(path: Path, found: list[tuple[str, str, int]]) -> None:
    """Add rows to a file, which both parts share."""
    before = json.loads(path.read_text()) if path.exists() and path.stat().st_size else []
    path.write_text(json.dumps(before + found))


if __name__ == "__main__":
    rows_of_both = json.loads(Path(sys.argv[1]).read_text() or "[]")
    most: dict[tuple[str, str], int] = {}
    for file, reason, number in rows_of_both:  # a file that is skipped whole is skipped in both parts
        most[file, reason] = max(number, most.get((file, reason), 0))
    print(table([(file, reason, number) for (file, reason), number in most.items()]))
