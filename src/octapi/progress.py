"""A bar on the terminal: how many jobs are done, how quickly, and how long the rest may take."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from octapi.saying import is_terminal

#: nothing is shown of work that is over sooner, in seconds
FIRST_S = 0.5
EVERY_S = 0.2

#: returns how many jobs are done and how many there are
Counts = Callable[[], tuple[int, int]]


def is_wanted(asked: bool | None) -> bool:
    """Say whether to show a bar: as asked, or else on a terminal only."""
    return is_terminal() if asked is None else asked


class Bar:
    """Shows counts until it is closed, from a thread of its own."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="octapi-progress", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(FIRST_S):
            done, total = self._counts()
            if done < total:
                self._show()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("jobs"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
        console = Console(file=sys.stderr)
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
            task = progress.add_task("jobs", total=None, rate="")
            while not self._closed.wait(EVERY_S):
                done, total = self._counts()
                speed = progress.tasks[0].speed
                rate = f"{speed:,.0f}/s" if speed else ""
                progress.update(task, completed=done, total=total, rate=rate)
                if done >= total:
                    return

    def close(self) -> None:
        """Take the bar away."""
        self._closed.set()
        self._thread.join()
