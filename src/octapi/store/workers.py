"""Who was in the cluster, when, and how they were: small rows for years of history.

A worker is ``here``, ``left`` (it said so), ``lost`` (its connection broke or it fell silent), ``removed`` (its owner
took it out), or ``unknown`` (the master ended while it was here).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from octapi.store.writer import Writer

HERE: Final = "here"
LOST: Final = "lost"

#: how often a worker's health is kept, in seconds, and for how long
HEALTH_EVERY_S = 600.0
HEALTH_KEPT_S = 7 * 86400.0
#: how many events of one worker are kept
EVENTS_KEPT = 500

JOIN = """INSERT INTO nodes VALUES (:name, 'here', :address, :host, :slots, :platform, :python, :release, :memory, :now,
    :now, :now, 1, 0, '') ON CONFLICT (name) DO UPDATE SET state = 'here', address = excluded.address,
    host = excluded.host, slots = excluded.slots, platform = excluded.platform, python = excluded.python,
    release = excluded.release, memory = excluded.memory, joined = excluded.joined, last_seen = excluded.last_seen,
    joins = nodes.joins + 1, reason = ''"""
FACTS: Final = ("name", "address", "host", "slots", "platform", "python", "release", "memory")
TRIM = """DELETE FROM node_events WHERE name = ?1 AND rowid <= (
    SELECT rowid FROM node_events WHERE name = ?1 ORDER BY rowid DESC LIMIT 1 OFFSET ?2)"""


class WorkerHistory:
    """Writes the history of nodes.  Times are epoch seconds by the cluster's clock."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._sampled: dict[str, float] = {}

    def joined(self, facts: Mapping[str, object], now: float) -> None:
        """A worker came."""
        values = {key: facts[key] for key in FACTS} | {"now": now}
        statement, row = named(JOIN, values)
        self.writer.put(statement, row)
        self._event(str(facts["name"]), "joined", f"from {facts['address']} with {facts['slots']} slots", now)

    def went(self, name: str, state: str, reason: str, now: float) -> None:
        """A worker went: ``state`` is left, lost or removed, ``reason`` says why in words."""
        self.writer.put(
            "UPDATE nodes SET state = ?, last_seen = ?, reason = ?, deaths = deaths + ? WHERE name = ?",
            (state, now, reason, int(state == LOST), name),
        )
        self._event(name, state, reason, now)
        self._sampled.pop(name, None)

    def event(self, name: str, event: str, text: str, now: float) -> None:
        """Something happened to a worker: refused, drained, resumed, under-voltage ..."""
        self._event(name, event, text, now)

    def _event(self, name: str, event: str, text: str, now: float) -> None:
        self.writer.put("INSERT INTO node_events VALUES (?, ?, ?, ?)", (name, now, event, text[:500]))
        self.writer.put(TRIM, (name, EVENTS_KEPT), ("trim", name))

    def health(self, name: str, health: Mapping[str, object], now: float) -> None:
        """Keep how a worker is, now and then; that alone never wakes the disk."""
        if now - self._sampled.get(name, -HEALTH_EVERY_S) < HEALTH_EVERY_S:
            return
        self._sampled[name] = now
        at = int(now // HEALTH_EVERY_S * HEALTH_EVERY_S)
        data = json.dumps(dict(health))
        self.writer.put("INSERT OR REPLACE INTO node_health VALUES (?, ?, ?)", (name, at, data), lazily=True)
        self.writer.put(
            "DELETE FROM node_health WHERE name = ? AND at < ?",
            (name, at - HEALTH_KEPT_S),
            ("health", name),
            lazily=True,
        )

    def master_started(self, now: float) -> None:
        """Nobody is here yet; of those that were, nobody knows when they went."""
        self.writer.put("UPDATE nodes SET state = 'unknown', reason = 'the master ended' WHERE state = 'here'", ())


def named(statement: str, values: Mapping[str, object]) -> tuple[str, tuple[object, ...]]:
    """Turn ``:name`` into ``?number``, so that a change is a text and a tuple."""
    for number, key in enumerate(values, 1):
        statement = statement.replace(f":{key}", f"?{number}")
    return statement, tuple(values.values())
