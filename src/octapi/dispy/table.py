"""The table that ``print_status`` prints, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from octapi.text.units import byte_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from octapi.dispy.node import DispyNode

WIDTHS = (15, 5, 7, 8, 13, 7, 7)
TITLES = ("Node", "CPUs", "Jobs", "Sec/Job", "Node Time Sec", "Sent", "Rcvd")


def seconds(count: float) -> str:
    """Write a number of seconds as dispy does, and short ones with two digits that count."""
    return f"{count:.1f}" if count >= 0.95 or not count else f"{count:.2g}"


def line(cells: Iterable[str]) -> str:
    """Join cells, right-aligned, as a row."""
    return " " + " | ".join(cell.rjust(width) for cell, width in zip(cells, WIDTHS, strict=True))


def render(nodes: Iterable[DispyNode], pending: int, wall_s: float) -> str:
    """Return the whole table for ``nodes``, with the totals line."""
    header = line(TITLES)
    rows = ["", header, "-" * len(header)]
    total = 0.0
    for node in nodes:
        total += node.cpu_time
        each = node.cpu_time / node.jobs_done if node.jobs_done else 0
        cells = ((node.name or node.ip_addr)[:15], str(node.cpus), str(node.jobs_done), seconds(each))
        rows.append(line((*cells, seconds(node.cpu_time), byte_size(node.tx), byte_size(node.rx))))
    rows.append("")
    if pending:
        rows.append(f"Jobs pending: {pending}")
    speedup = total / wall_s if wall_s else 0.0
    rows.append(f"Total job time: {total:.3f} sec, wall time: {wall_s:.3f} sec, speedup: {speedup:.3f}")
    return "\n".join([*rows, ""])
