"""Who may be at one Dask server, what each role may call there, and who is there now."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from octapi.engine.plain_frames import MESSAGE_LIMIT
from octapi.errors import PeerRefused, RoleRefused
from octapi.trust import policy
from octapi.trust.address_owners import AddressOwners
from octapi.trust.names import CLIENT, MASTER, WORKER, Peer
from octapi.trust.nested_clients import is_nested

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from octapi.engine.dask_comm import GuardedComm
    from octapi.trust.contexts import Trust
    from octapi.trust.nested_clients import NestedClients


class Guard:
    """One Dask server's rules: who may be here, what they may call, and who is here now."""

    def __init__(self, trust: Trust, side: str) -> None:
        self.trust = trust
        self.side = side
        self.address_owners = AddressOwners()
        self.comms: weakref.WeakSet[GuardedComm] = weakref.WeakSet()
        self.half_open = 0
        #: the longest message of a worker with results, in bytes
        self.results_limit = MESSAGE_LIMIT
        #: ``host:port`` of the scheduler, where only the master may answer
        self.scheduler = ""
        #: whether this process takes Dask's own tasks and data; an agent never does
        self.takes_tasks = True
        #: whether this worker takes part in a run of a shuffle, and whether an actor lives here
        self.knows_shuffle: Callable[[str, int], Awaitable[bool]] = knows_no_shuffle
        self.knows_actor: Callable[[str], bool] = lambda _: False
        #: the clients inside tasks, on the scheduler's side
        self.nested: NestedClients | None = None

    def check(self, peer: Peer, message: dict[str, Any], *, is_stream: bool, opened: str = "") -> None:
        """Raise :exc:`RoleRefused` unless ``peer`` may send ``message`` here.

        ``opened`` is the request that turned the connection into a stream.
        """
        if self.nested is not None and peer.role == WORKER and is_nested(message, opened, is_stream=is_stream):
            return self.nested.check(peer, message, opened, is_stream=is_stream)
        policy.check(self.side, peer, message, is_stream=is_stream)
        if self.side == policy.SCHEDULER_SIDE:
            self.address_owners.check(peer, message, is_stream=is_stream)
        if self.side == policy.WORKER_SIDE and not self.takes_tasks and is_for_tasks(message, is_stream=is_stream):
            raise RoleRefused(
                f"An agent may not be asked for {message['op']!r:.60}: Dask's tasks have a process of their own, "
                "and none where a worker was started with --no-dask."
            )
        return None

    def drop(self, idents: set[str]) -> list[str]:
        """Cut every connection of these members, and return the addresses of those that were workers."""
        for comm in [comm for comm in self.comms if comm.peer is not None and comm.peer.ident in idents]:
            comm.abort()
        return self.address_owners.addresses(idents)

    def expected(self, address: str) -> tuple[str, ...]:
        """Return the roles that may answer at an address."""
        if self.trust.identity.role == CLIENT or address == self.scheduler:
            return (MASTER,)
        return (WORKER,)

    def check_owner(self, address: str, peer: Peer) -> None:
        """Raise :exc:`PeerRefused` when another worker answers than the one that registered an address."""
        owner = self.address_owners.by_address.get(address)
        if self.side == policy.SCHEDULER_SIDE and owner is not None and owner.ident != peer.ident:
            raise PeerRefused(f"it is {peer}, and {owner} registered there")


async def knows_no_shuffle(shuffle: str, run: int) -> bool:
    """Know none, as a scheduler."""
    return False


#: what brings code or data of Dask's own into a worker
TASK_OPS: Final = policy.words(
    "compute-task run run_coroutine actor_execute plugin-add upload_file update_data "
    "shuffle_receive acquire-replicas gather"
)


def is_for_tasks(message: dict[str, Any], *, is_stream: bool) -> bool:
    """Say whether a message is for a process of Dask's tasks: every single request, which nobody makes of an agent.

    Dask's worker ends for good at an odd one, also where it only forgets keys.
    """
    operation = str(message.get("op"))
    return operation in TASK_OPS if is_stream else operation != "close"
