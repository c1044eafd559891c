"""Writes docs/explanation/protocols.md from the kinds of messages: ``python -m octapi.protocol.describe``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_type_hints

from octapi.protocol import client_messages, orders, replies, wire, worker_messages
from octapi.protocol.messages import Channel, Kind, kinds

#: where the kinds of each channel are declared
MODULES = {
    Channel.CLIENT: client_messages,
    Channel.TO_CLIENT: replies,
    Channel.WORKER: worker_messages,
    Channel.TO_WORKER: orders,
}
TITLES = {
    Channel.CLIENT: "What a client says to the master",
    Channel.TO_CLIENT: "What the master says to a client",
    Channel.WORKER: "What a worker says to the master",
    Channel.TO_WORKER: "What the master says to a worker",
}
HEAD = """# Protocols

This page is made from the classes of messages by `python -m octapi.protocol.describe`, and a test compares them.

A message is a list of msgpack: a word, then its fields. Between a client and the master it stands in a frame on a TLS
connection: the length of the rest (8 bytes, little-endian), the lengths of the head (4 bytes) and of a gap (1 byte),
the head, which is the message, the gap, and its payloads. A field that is a *payload* stands in the head while it is
small; from {large} bytes on the head says where it lies behind it, so that nobody on the way packs, unpacks or copies
it. Between the master and a worker a message rides on Dask's connection as an operation of its own, its payloads as
frames of Dask's beside it; between an agent and a slot it stands in a frame on a Unix socket. What *must arrive* is
kept until it is acknowledged, so that it survives a broken connection; the rest is news that may be missed. What
clients and workers say is checked against the readers of its fields before anything else sees it; what is wrong in it
is refused by name. Neither a client nor a worker checks what the master says in the same way: its certificate says who
it is.

A client begins with `hello`, which is read apart, before it has a session.
"""


def text() -> str:
    """Return the page."""
    parts = [HEAD.format(large=f"{wire.LARGE:,}")]
    for channel, module in MODULES.items():
        where = str(module.__name__).replace(".", "/").removeprefix("octapi/")
        parts.append(f"\n## {TITLES[channel]}\n\nDeclared in `{where}.py`.\n\n")
        parts.append("| word | fields | must arrive | meaning |\n| --- | --- | --- | --- |\n")
        parts.extend(line(kind) for kind in kinds(channel).values())
    return "".join(parts)


def line(kind: Kind) -> str:
    """Return the row of one kind."""
    hints = get_type_hints(kind.cls)
    fields = ", ".join(f"`{name}`: {shown(hints[name])}" for name in kind.cls._fields)
    meaning = " ".join(str(kind.cls.__doc__).split())
    return f"| `{kind.word}` | {fields} | {'yes' if kind.must_arrive else ''} | {meaning} |\n"


def shown(hint: Any) -> str:
    """Return a type as people read it, safe in a table."""
    if hint == wire.Blob:
        return "payload"
    found = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)
    found = found.replace(" | octapi.errors.MessageRefused", "")  # what this side makes of it is not on the wire
    return (
        found.replace("octapi.protocol.specs.", "")
        .replace("typing.", "")
        .replace("collections.abc.", "")
        .replace("|", "or")
    )


def main() -> None:
    """Write the page to the path that is given."""
    Path(sys.argv[1]).write_text(text())


if __name__ == "__main__":
    main()
