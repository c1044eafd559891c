"""A person's identity: got with a token, or on the master's own computer from the master itself."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi import errors
from octapi.device import accounts
from octapi.errors import MasterNotFound, NotAMember, PeerRefused, TrustError
from octapi.protocol import wire
from octapi.text.reasons import in_words
from octapi.trust import identity as identities
from octapi.trust.identity import Identity
from octapi.trust.names import CLIENT, label

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence

    from octapi.trust.joining import Greeting
    from octapi.trust.token import Token

FILE = "client.json"
ANSWER_S = 10.0
#: how long a door may take that is only tried, in seconds
CALL_S = 1.5


def name_of_login() -> str:
    """Return the name under which this login is a client: user and host, in letters a name may have."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return label(f"{user}-{socket.gethostname().partition('.')[0]}")


def join(token: Token, home: Path, name: str = "") -> tuple[Identity, Greeting]:
    """Become a client of the token's cluster, and keep the identity.

    Raises :exc:`MasterNotFound` and :exc:`TrustError`.
    """
    from octapi.device import discovery
    from octapi.trust import joining, local_master

    path = home / FILE
    old = identities.load(path)
    name = name or name_of_login()
    try:
        guesses = local_master.doors(token.addresses)
        found, greeting = apart(joining.join(token, token.addresses, CLIENT, name, old, guesses=guesses))
    except (MasterNotFound, PeerRefused):
        print("octapi: looking for the master in the network ...", file=sys.stderr)
        elsewhere = discovery.doors_except(token.addresses)
        if not elsewhere:
            raise
        found, greeting = apart(joining.join(token, elsewhere, CLIENT, name, old))
    identities.save(path, found)
    return found, greeting


def own(home: Path, sockets: Sequence[Path]) -> Identity | None:
    """Return the identity of this login, renewed when that is due; None if it has none."""
    path = home / FILE
    found = identities.load(path)
    if found is not None and time.time() < found.renew_at():
        return found
    if found is not None and not found.desk:
        return renewed(found, path)
    for place in sockets:
        with contextlib.suppress(MasterNotFound):
            found = from_master(place)
            identities.save(path, found)
            return found
    return found


def refreshed(path: Path) -> Identity:
    """Return a new certificate for the identity at ``path``, which the master did not accept as it was.

    Raises :exc:`NotAMember` when this login was removed.
    """
    found = identities.load(path)
    if found is None:
        raise NotAMember(f"There is no identity {path}.")
    if not found.desk:
        return renewed(found, path)
    fresh = from_master(Path(found.desk))
    identities.save(path, fresh)
    return fresh


def renewed(found: Identity, path: Path) -> Identity:
    """Renew an identity at the first door that answers; the old one is used as long as none does."""
    from octapi.trust import joining

    for address in found.addresses:
        try:
            fresh: Identity = apart(joining.renew(found, address))
        except (OSError, asyncio.IncompleteReadError):
            continue
        identities.save(path, fresh)
        return fresh
    print("octapi: this login's certificate is due for renewal, but the master does not answer.", file=sys.stderr)
    return found


def found_again(path: Path) -> Identity | None:
    """Look for the master of an identity at its doors, then by multicast, and keep what its door says; None for none.

    Raises :exc:`NotAMember` when this login was removed.
    """
    from octapi.trust import joining

    known = identities.load(path)
    if known is None:
        return None
    for address in doors(known):
        try:
            _, answer = apart(asyncio.wait_for(joining.call(known, address), CALL_S))
        except NotAMember:
            raise
        except (OSError, asyncio.IncompleteReadError, TrustError):
            continue
        fresh = known.with_answer(answer)
        identities.save(path, fresh)
        return fresh
    return None


def doors(known: Identity) -> Iterator[str]:
    """Return where the master may be, the likeliest places first."""
    from octapi.device import discovery
    from octapi.trust import local_master

    yield from known.addresses
    yield from local_master.doors(known.addresses, [Path(known.desk)] if known.desk else None)
    print("octapi: the master does not answer where it was; looking in the network ...", file=sys.stderr)
    for row in discovery.browse_apart(cluster_id=known.cluster_id):
        if row.cluster_id == known.cluster_id:
            yield from row.addresses


def apart(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, also where a loop runs already, as in a notebook."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.extend((asyncio.run(work), None))
        except BaseException as error:
            result.extend((None, error))

    thread = threading.Thread(target=run, name="octapi-login")
    thread.start()
    thread.join()
    if result[1] is not None:
        raise result[1]
    return result[0]


# ---- the master on this computer


def ask_local(place: Path, make: Any) -> dict[str, Any]:
    """Ask the master on this computer over its socket; ``make(nonce)`` is the request.

    Raises :exc:`MasterNotFound` when none listens there, and :exc:`TrustError` when it refuses.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(ANSWER_S)
            sock.connect(str(place))
            check_server(sock, place)
            with sock.makefile("rwb") as stream:
                greeting = read_frame(stream)
                stream.write(wire.pack(make(greeting["nonce"])))
                stream.flush()
                answer = read_frame(stream)
    except (OSError, EOFError) as error:
        raise MasterNotFound(
            f"No master listens at {place} ({in_words(error)}). Start it with 'octapi master'."
        ) from error
    if "ok" not in answer:
        raise errors.by_name(answer.get("error"), TrustError)(str(answer.get("text")))
    found: dict[str, Any] = answer["ok"]
    return found


def check_server(sock: socket.socket, place: Path) -> None:
    """Raise :exc:`TrustError` unless root or this very user listens: anybody else could pose as the master."""
    uid = accounts.peer_uid(sock)
    if uid not in (None, 0, os.getuid()):
        raise TrustError(f"{place} belongs to another user (uid {uid}), not to a master that can be trusted.")


def read_frame(stream: Any) -> Any:
    """Read one frame.  Raises EOFError when the other side hangs up."""
    head = stream.read(wire.LENGTH.size)
    if len(head) < wire.LENGTH.size:
        raise EOFError("it hung up")
    (size,) = wire.LENGTH.unpack(head)
    return wire.unpack(stream.read(size))


def from_master(place: Path) -> Identity:
    """Get an identity from the master on this computer, which knows who asks."""
    from octapi.trust import certificates

    key = certificates.new_key()
    answer = ask_local(place, lambda nonce: {"op": "login", "csr": certificates.request(key, nonce)})
    empty = Identity("", "", CLIENT, name_of_login(), "", key, "", (), 0.0, 0.0, 0.0, desk=str(place))
    return empty.with_answer(answer)
