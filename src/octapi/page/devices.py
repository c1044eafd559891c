"""Devices as people see them: who is a member, who is here, and how their certificates stand; and their QR codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octapi.page.model import Model

FACTS = ("address", "host", "slots", "platform", "python", "release", "joined", "heard", "health", "badges", "state")


def table(model: Model, members: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the workers that are here and the members that are written down together; those not here come last."""
    known = {row["name"]: row for row in members if row["role"] == "worker"}
    rows = [row_of(name, row, known.get(name)) for name, row in model.workers.items()]
    rows += [
        row_of(name, {}, member) | {"gone": model.away.get(name, {}).get("since")}
        for name, member in known.items()
        if name not in model.workers
    ]
    return rows + [row_of(row["name"], {}, row) for row in members if row["role"] != "worker"]


def row_of(name: str, here: dict[str, Any], member: dict[str, Any] | None) -> dict[str, Any]:
    """Describe one device."""
    found: dict[str, Any] = {"name": name, "online": bool(here), "role": member["role"] if member else "worker"}
    found |= {key: here.get(key) for key in FACTS}
    for key in ("since", "renewed", "ends"):
        found[key] = member.get(key) if member else None
    if member and not found["address"]:
        found["address"] = member.get("address")
    return found


def qr_code(text: str) -> list[str]:
    """Return a QR code as rows of ``0`` and ``1``; the browser draws it."""
    import segno

    return ["".join(str(int(bool(cell))) for cell in row) for row in segno.make(text, error="l", micro=False).matrix]
