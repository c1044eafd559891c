"""``--watch``: what the page shows, on a terminal, from the same model."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from rich.live import Live

from octapi.cli import tables
from octapi.client.connect import any_way
from octapi.errors import MasterNotFound
from octapi.page.feed import GatewayFeed
from octapi.page.model import Model
from octapi.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable


def follow(address: str, rows: Callable[[Model], list[dict[str, Any]]], titles: dict[str, str], as_json: bool) -> None:
    """Show rows until Ctrl-C: a table that is updated in place, or on request JSON, one list a line.

    ``titles`` names the columns by their keys.  Raises :exc:`MasterNotFound` when no master answers.
    """
    model, show = Model(), json_lines if as_json or not sys.stdout.isatty() else LiveView(titles)

    def take(frame: dict[str, Any]) -> None:
        model.take(frame)
        show(rows(model), "")

    def lost(text: str) -> None:
        model.lost(time.time(), text)
        if not model.is_known:
            raise MasterNotFound(text)
        show(rows(model), f"The master does not answer: {text}")

    async def run() -> None:
        settings = Settings.load()
        way = any_way(address, settings)
        feed = GatewayFeed(lambda: way, take, lost)
        with feed.looking():
            await feed.ended()

    asyncio.run(run())


def json_lines(rows: list[dict[str, Any]], _: str) -> None:
    """Print rows as one line of JSON."""
    print(json.dumps(rows), flush=True)


class LiveView:
    """A table on a terminal."""

    def __init__(self, titles: dict[str, str]) -> None:
        self._titles = titles
        self._live = Live(auto_refresh=False)
        self._live.start()

    def __call__(self, rows: list[dict[str, Any]], trouble: str) -> None:
        """Show rows, and what is wrong with the way to the master."""
        cells = [[row.get(key, "") for key in self._titles] for row in rows]
        whole = [title for title in ("Run", "No.", "Name") if title in self._titles.values()]
        self._live.update(tables.table(list(self._titles.values()), cells, whole, trouble), refresh=True)


NODES = {"name": "Name", "address": "Address", "slots": "Slots", "busy": "Busy", "load": "Load", "state": "State"}
JOBS = {
    "number": "No.", "script": "Script", "user": "User", "waiting": "Waiting", "running": "Running", "done": "Done",
    "failed": "Failed", "rate": "Jobs/s", "left": "Left",
}  # fmt: skip
RUNS = {
    "run": "Run", "script": "Script", "state": "State", "done": "Done", "failed": "Failed", "wall_s": "Seconds",
    "speedup": "Speed-up", "efficiency": "Efficiency",
}  # fmt: skip


def node_rows(model: Model) -> list[dict[str, Any]]:
    """Return the workers."""
    found = []
    for row in model.workers.values():
        cpu = (row["health"] or {}).get("cpu")
        words = ", ".join(badge[2] for badge in row["badges"]) or "well"
        facts = {key: row[key] for key in ("name", "address", "slots")} | {"busy": len(row["lights"]), "state": words}
        found.append(facts | {"load": "" if cpu is None else f"{100 - cpu:.0f} %"})
    return sorted(found, key=lambda row: str(row["name"]))


def job_rows(model: Model) -> list[dict[str, Any]]:
    """Return the runs that go on."""
    rows = [row for row in model.runs.values() if row["ended"] is None]
    return [row | {"left": "" if row["eta_s"] is None else f"{row['eta_s']:.0f} s"} for row in rows]


def run_rows(model: Model) -> list[dict[str, Any]]:
    """Return the runs that the master has in mind, the latest first."""
    rows = sorted(model.runs.values(), key=lambda row: row["since"] or 0.0, reverse=True)
    return [row | {"state": "running" if row["ended"] is None else row["state"] or "ended"} for row in rows]
