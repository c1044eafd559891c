"""Who registered which address or name at the scheduler, so that nobody speaks for another.

Dask merges what a message says with what it knows of the connection, and the message wins: ``worker=`` in a message of
a worker would make it another's.  So such keys are refused, and all that names somebody is compared with the
certificate of the connection that it came over.
"""

from __future__ import annotations

from typing import Any, Final

from octapi.errors import MessageRefused, RoleRefused
from octapi.protocol.checked import choice, integer, mapping, maybe, number, plain, record, row, text
from octapi.protocol.specs import MOST_SLOTS
from octapi.trust.names import CLIENT, WORKER, Peer

#: keys that Dask fills in itself from what it knows of a connection
FILLED_IN: Final = frozenset({"worker", "client", "comm", "self", "extra"})
#: requests of workers that name another worker for a good reason; see :data:`octapi.trust.policy.WORKER_REQUESTS`
NAMES_OTHERS: Final = frozenset({"shuffle_restrict_task"})

TALLY = number(0, 1e15)
#: numbers that Dask's scheduler keeps of a worker; its own bookkeeping stops for good at the first that is none
METRICS: Final = record(
    {
        "memory": integer(0, 1 << 60),
        "spilled_bytes": record({"memory": integer(0, 1 << 60), "disk": integer(0, 1 << 60)}),
        "bandwidth": record(
            {
                "total": TALLY,
                "workers": mapping(text(300), row(TALLY, TALLY), 10_000),
                "types": mapping(text(300), row(TALLY, TALLY), 10_000),
            }
        ),
        "digests_total_since_heartbeat": mapping(plain(2, 20), number(), 10_000),
    },
    rest=plain(6, 10_000, is_dask=True),
)
ADDRESS: Final = text(300)
NO_TEXT_KEYS: Final = plain(6, 10_000)
#: how Dask's workers are when they register
STATUS: Final = choice("init", "running", "paused")
REGISTRATION: Final = record(
    {
        "address": ADDRESS,
        "name": text(63),
        "nthreads": integer(1, MOST_SLOTS),
        "memory_limit": maybe(integer(0, 1 << 60)),
        "metrics": METRICS,
        "now": number(0),
        "versions": record({}, {"packages": mapping(text(100), maybe(text(200)), 1000)}, rest=NO_TEXT_KEYS),
        "resources": maybe(mapping(text(100), number(0), 100)),
    },
    {
        "status": maybe(STATUS), "local_directory": text(4096), "services": maybe(NO_TEXT_KEYS), "pid": integer(),
        "server_id": text(300), "nanny": maybe(text(300)), "stimulus_id": text(300), "extra": NO_TEXT_KEYS,
    },
    rest=plain(6, 1000),
)  # fmt: skip
HEARTBEAT: Final = record(
    {"address": ADDRESS, "metrics": METRICS},
    {"now": number(0), "executing": mapping(plain(4, 100), number(), 100_000)},
    rest=plain(is_dask=True),
)


class AddressOwners:
    """Who is who at the scheduler: workers by the addresses and clients by the names that they registered."""

    def __init__(self) -> None:
        self.by_address: dict[str, Peer] = {}
        self.by_client: dict[str, Peer] = {}

    def check(self, peer: Peer, message: dict[str, Any], *, is_stream: bool) -> None:
        """Raise :exc:`RoleRefused` for a message in another's name, :exc:`MessageRefused` for one that is none."""
        if peer.role == WORKER:
            self._check_worker(peer, message, is_stream)
        elif peer.role == CLIENT:
            self.check_client(peer, message, is_stream=is_stream)

    def _check_worker(self, peer: Peer, message: dict[str, Any], is_stream: bool) -> None:
        operation = message.get("op")
        if operation == "register-worker":
            return self._register(peer, message)
        if is_stream and (found := FILLED_IN & message.keys()):
            raise RoleRefused(f"{peer} may not say {', '.join(sorted(found))}: who speaks is the connection.")
        if "client" in message:
            raise RoleRefused(f"{peer} may not speak for a client.")
        if operation in ("heartbeat_worker", "unregister"):
            self._check_owner(peer, message.get("address"))
            if operation == "heartbeat_worker":
                reads(HEARTBEAT, message, "sign of life")
        elif "worker" in message and operation not in NAMES_OTHERS:
            self._check_owner(peer, message["worker"])
        return None

    def _check_owner(self, peer: Peer, address: object) -> None:
        owner = self.by_address.get(address) if isinstance(address, str) else None
        if owner is None or owner.ident != peer.ident:
            raise RoleRefused(f"{peer} may not speak for {owner or f'{address!r:.80}'}.")

    def _register(self, peer: Peer, message: dict[str, Any]) -> None:
        facts = reads(REGISTRATION, message, "registration")
        address, name = facts["address"], facts["name"]
        owner = self.by_address.get(address)
        if name != peer.name:
            raise RoleRefused(f"{peer} may not register as {name!r}.")
        if owner is not None and owner.ident != peer.ident:
            raise RoleRefused(f"{peer} may not register at the address of {owner}.")
        self.by_address[address] = peer

    def check_client(self, peer: Peer, message: dict[str, Any], *, is_stream: bool) -> None:
        """The same of one that a client of Dask sends, also one inside a task of a worker."""
        if is_stream and (found := (FILLED_IN - {"client"}) & message.keys()):
            raise RoleRefused(f"{peer} may not say {', '.join(sorted(found))}: who speaks is the connection.")
        name = message.get("client")
        if name is None:
            return
        if not isinstance(name, str) or len(name) > 300:
            raise MessageRefused("the name of a client is no text of at most 300 characters")
        owner = self.by_client.get(name)
        if owner is not None and owner.ident != peer.ident:
            raise RoleRefused(f"{peer} may not speak for {owner}.")
        if message.get("op") == "register-client":
            self.by_client[name] = peer

    def addresses(self, idents: set[str]) -> list[str]:
        """Return the addresses of these members."""
        return [address for address, peer in self.by_address.items() if peer.ident in idents]

    def forget(self, address: str) -> None:
        """Free an address whose worker has left, or never came in."""
        self.by_address.pop(address, None)

    def forget_client(self, name: str) -> None:
        """Free the name of a client that has left."""
        self.by_client.pop(name, None)


def reads(reader: Any, message: dict[str, Any], what: str) -> dict[str, Any]:
    """Read a message.  Raises :exc:`RoleRefused` that says which of its facts is not as Dask's are."""
    try:
        found: dict[str, Any] = reader({key: value for key, value in message.items() if key != "op"})
    except MessageRefused as error:
        raise RoleRefused(f"A worker's {what} may not be so: {error}.") from None
    return found
