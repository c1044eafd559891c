"""Joining and renewing in a process of their own: ``python -m octapi.trust.in_subprocess join|renew ...``.

A worker keeps running for months on a board with little memory; the libraries that make keys and look for masters are
needed for a second.  The token comes over stdin, never in the arguments.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from octapi.errors import OctapiError
from octapi.protocol import stdio_json
from octapi.trust import identity as identities
from octapi.trust import joining
from octapi.trust import ssh as keys
from octapi.trust.names import WORKER
from octapi.trust.token import parse


def renew(path: Path, address: str) -> None:
    """Renew the identity at ``path``, and its SSH certificate with it."""
    found = identities.load(path)
    if found is None:
        raise OctapiError(f"There is no identity {path}.")
    fresh = asyncio.run(joining.renew(found, address, keys.host_key(path.parent)))
    identities.save(path, fresh)


def join(path: Path) -> None:
    """Join as the first line of stdin says, and keep the identity at ``path``."""
    wanted = stdio_json.read_first()
    token = parse(wanted["token"])
    old = identities.load(path)
    found, greeting = asyncio.run(
        joining.join(
            token, wanted["addresses"], WORKER, wanted["name"], old, keys.host_key(path.parent), wanted["guesses"]
        )
    )
    identities.save(path, found)
    stdio_json.tell({"kind": "joined", "cluster": found.cluster, "behind_s": greeting.behind_s})


def main() -> None:
    """Do one of them; a message and code 1 say what went wrong, and of which kind."""
    operation, path, *rest = sys.argv[1:]
    try:
        if operation == "join":
            join(Path(path))
        else:
            renew(Path(path), rest[0])
    except OctapiError as error:
        stdio_json.tell({"kind": type(error).__name__, "text": str(error)})
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
