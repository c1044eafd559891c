"""Dask's connections under roles: the scheme ``octapi://``, TLS with the cluster's certificates.

A role is decided when TLS is accepted, before the first read.  Every message is read as plain data and checked against
:mod:`octapi.trust.policy` before anything in it is unpickled and before Dask sees it; what a worker sends to the
scheduler is never unpickled there, but for tasks that submit tasks (:mod:`octapi.trust.nested_clients`).
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any, Final, cast

from distributed.comm.core import CommClosedError, FatalCommClosedError
from distributed.comm.registry import backends
from distributed.comm.tcp import (
    TLS,
    BaseTCPBackend,
    TLSConnector,
    TLSListener,
    convert_stream_closed_error,
    read_bytes_rw,
)
from distributed.comm.utils import from_frames
from distributed.core import error_message
from distributed.protocol.utils import unpack_frames
from distributed.security import Security
from tornado.iostream import StreamClosedError

from octapi.engine.dask_frames import size_of
from octapi.engine.plain_frames import MESSAGE_LIMIT, NO_PICKLES, PLAIN, check_size, loads_plain
from octapi.errors import MessageRefused, PeerRefused, RoleRefused
from octapi.trust import policy
from octapi.trust.contexts import HANDSHAKE_S
from octapi.trust.names import MASTER, WORKER, Peer
from octapi.trust.nested_clients import is_nested

if TYPE_CHECKING:
    from collections.abc import Iterator

    from octapi.engine.guard import Guard

SCHEME: Final = "octapi"
#: the longest message of somebody who has not yet introduced himself to Dask
GREETING_LIMIT: Final = 1 << 16
#: the longest request of a worker of whom the scheduler expects neither results nor the graphs of tasks
REQUEST_LIMIT: Final = 64 << 20
#: a worker's messages go out together up to so many bytes
TOGETHER: Final = 32 << 20
#: connections that may be in the middle of introducing themselves
HALF_OPEN_LIMIT: Final = 128


class GuardedComm(TLS):  # type: ignore[misc]
    """One connection whose peer is known."""

    peer: Peer | None = None
    guard: Guard | None = None
    #: whether the peer opened it, so that what comes are requests
    is_inbound = False
    is_greeted = False
    #: what turned this connection into a stream, on which messages come in lists until it ends
    opened = ""
    #: whether the next message may be the word by which Dask says that data have arrived
    is_thanked = False

    async def read(self, deserializers: Any = None) -> Any:
        """Read one message that this peer may send.  Raises CommClosedError for any other."""
        frames = await self._frames()
        assert self.peer is not None
        assert self.guard is not None
        try:
            self.guard.trust.check_member(self.peer)
            is_greeting, self.is_greeted = not self.is_greeted, True
            return await self._read(frames, deserializers, is_greeting)
        except (RoleRefused, PeerRefused, ValueError, TypeError, KeyError, IndexError, struct.error) as error:
            self.guard.trust.on_refused(f"{self.peer} at {self.peer_address}: {error}")
            self.abort()
            raise CommClosedError(f"refused a message of {self.peer}: {error}") from error

    def _check_size(self, size: int) -> None:
        """Raise ValueError for a message that is too long, by whom it is of and by what he has said before."""
        limit = self._limit()
        nested = None if self.guard is None else self.guard.nested
        if size > limit and nested is not None and self.is_greeted and self.peer is not None:
            limit = MESSAGE_LIMIT if nested.has_tasks(self.peer) else limit
        check_size(size, limit)

    def _limit(self) -> int:
        """Return how long the next message may be, in bytes."""
        assert self.peer is not None
        assert self.guard is not None
        if not self.is_greeted:
            return GREETING_LIMIT
        is_of_worker = self.guard.side == policy.SCHEDULER_SIDE and self.is_inbound and self.peer.role == WORKER
        if not is_of_worker:
            return MESSAGE_LIMIT
        return self.guard.results_limit if self.opened else REQUEST_LIMIT

    async def write(self, message: Any, serializers: Any = None, on_error: str = "message") -> int:
        """Write a message; a list of many large ones goes in pieces, each of which the other side may read."""
        written = 0
        for piece in pieces(message):
            written += await super().write(piece, serializers=serializers, on_error=on_error)
        return written

    async def _read(self, frames: list[Any], deserializers: Any, is_greeting: bool) -> Any:
        """Check a message as plain data, whoever sent it, and only then open what it holds."""
        takes_pickles = not is_greeting and (not self._is_plain or self._may_nest)
        message, held = loads_plain(frames, takes_pickles=takes_pickles)
        if is_greeting or self._is_plain:
            PLAIN(message)
        if is_greeting:
            return message
        checked = self._checked(message)
        if checked is not message:
            return checked
        is_welcome = not self._is_plain or await self._is_welcome_data(message)
        if not held.anything:
            return message
        if is_welcome or (held.pickles and self._is_of_tasks(message)):
            return await self._open(frames, deserializers)
        if held.pickles:
            raise RoleRefused(NO_PICKLES)
        return message

    async def _is_welcome_data(self, message: Any) -> bool:
        """Say whether this is for an actor, or of a shuffle that runs here: all that one worker sends another."""
        assert self.guard is not None
        if not isinstance(message, dict) or self.guard.side != policy.WORKER_SIDE:
            return False
        if message.get("op") in ("actor_execute", "actor_attribute"):
            if not self.guard.knows_actor(str(message.get("actor"))):
                raise RoleRefused("No such actor lives here.")
            return True
        if message.get("op") != "shuffle_receive":
            return False
        shuffle, run = message.get("shuffle_id"), message.get("run_id")
        if not (isinstance(shuffle, str) and isinstance(run, int) and await self.guard.knows_shuffle(shuffle, run)):
            raise RoleRefused(f"No shuffle {str(shuffle)[:40]!r} runs here.")
        return True

    def _is_of_tasks(self, message: Any) -> bool:
        """Say whether all of this comes from a client inside a task: no other pickles of workers are read."""
        assert self.guard is not None
        assert self.peer is not None
        if self.guard.nested is None or not self.guard.nested.has_tasks(self.peer):
            return False
        parts = list(self._requests(message))
        return all(is_nested(part, self.opened, is_stream=stream) for part, stream in parts)

    async def _open(self, frames: list[Any], deserializers: Any) -> Any:
        """Read a message as Dask does, unpickling what it holds."""
        return await from_frames(
            frames, deserialize=self.deserialize, deserializers=deserializers, allow_offload=self.allow_offload
        )

    @property
    def _may_nest(self) -> bool:
        """Say whether a worker may speak here as a client inside a task."""
        assert self.guard is not None
        return self.is_inbound and self.guard.nested is not None

    @property
    def _is_plain(self) -> bool:
        """Say whether messages are read without unpickling anything."""
        assert self.peer is not None
        assert self.guard is not None
        if self.is_inbound and not self.guard.takes_tasks:
            return True  # an agent: what clients send through the scheduler comes from the master
        return self.peer.role == WORKER and (self.is_inbound or self.guard.side == policy.SCHEDULER_SIDE)

    def _checked(self, message: Any) -> Any:
        assert self.guard is not None
        assert self.peer is not None
        if not self.is_inbound and self.peer.role != MASTER:
            return message  # the answer to a request of ours
        if not self.is_inbound and self.guard.side != policy.WORKER_SIDE:
            return message
        for part, is_stream in self._requests(message):
            try:
                self.guard.check(self.peer, part, is_stream=is_stream, opened=self.opened)
            except RoleRefused as error:
                if is_stream or not part.get("reply", True):
                    raise
                self.guard.trust.on_refused(f"{self.peer} at {self.peer_address}: {error}")
                return {"op": policy.REFUSED_OP, "text": str(error), "close": bool(part.get("close"))}
            if self.is_inbound and not is_stream:
                self.opened = part["op"] if part["op"] in policy.OPENS_STREAM else ""
                self.is_thanked = part["op"] == "get_data" and self.guard.side == policy.WORKER_SIDE
        return message

    def _requests(self, message: Any) -> Iterator[tuple[dict[str, Any], bool]]:
        """Split what came into requests, each with whether it came on a stream.

        Raises :exc:`MessageRefused` for what is none; only on a connection that this side opened there are answers.
        """
        if isinstance(message, dict) and not self.opened and ("op" in message or not self.is_inbound):
            if "op" in message:
                yield message, False
        elif isinstance(message, (dict, tuple, list)) and (self.opened or not self.is_inbound):
            for part in (message,) if isinstance(message, dict) else message:
                if isinstance(part, dict):
                    if self.is_inbound and not isinstance(part.get("op"), str):
                        raise MessageRefused("a message does not say what is wanted")
                    yield part, True
                elif self.is_inbound and part != "OK":
                    raise MessageRefused("a part of a message is no request")
        elif self.is_inbound and not (self.is_thanked and message == "OK"):
            raise MessageRefused("it is no request")

    stream: Any

    async def _frames(self) -> list[Any]:
        """Read the frames of one message."""
        if self.stream is None:
            raise CommClosedError
        try:
            (size,) = struct.unpack("Q", await self.stream.read_bytes(8))
            self._check_size(size)
            head = await read_bytes_rw(self.stream, size)
            frames, sizes = unpack_frames(head, partial=True)
            self._check_size(size + sum(sizes))
            for size in sizes:
                frames.append(await read_bytes_rw(self.stream, size))
        except StreamClosedError as error:
            self.stream = None
            self._closed = True
            convert_stream_closed_error(self, error)
        except BaseException as error:
            self.abort()
            if isinstance(error, (ValueError, struct.error, IndexError, MemoryError)):
                raise CommClosedError(f"cannot read a message of {self.peer}: {error}") from error
            raise
        return list(frames)


def pieces(message: Any) -> list[Any]:
    """Split a list of messages with large bodies, in their order."""
    if type(message) is not list or len(message) < 2:
        return [message]
    found: list[list[Any]] = [[]]
    size = 0
    for part in message:
        own = size_of(part)
        if found[-1] and size + own > TOGETHER:
            found.append([])
            size = 0
        found[-1].append(part)
        size += own
    return found


class GuardedConnector(TLSConnector):  # type: ignore[misc]
    """Connects, and looks who answers."""

    prefix = f"{SCHEME}://"
    comm_class = GuardedComm

    async def connect(self, address: str, deserialize: bool = True, **arguments: Any) -> GuardedComm:
        """Connect.  Raises FatalCommClosedError when somebody answers who must not."""
        guard: Guard = arguments["guard"]
        comm = cast("GuardedComm", await super().connect(address, deserialize, **arguments))
        try:
            comm.peer = guard.trust.admit(comm.extra_info.get("peercert"), guard.expected(address))
            guard.check_owner(f"{self.prefix}{address}", comm.peer)
        except PeerRefused as error:
            comm.abort()
            guard.trust.on_refused(f"whoever answers at {address}: {error}")
            raise FatalCommClosedError(f"Refused whoever answers at {address}: {error}.") from error
        comm.guard = guard
        guard.comms.add(comm)
        return comm


class GuardedListener(TLSListener):  # type: ignore[misc]
    """Listens, and looks who comes."""

    prefix = f"{SCHEME}://"
    comm_class = GuardedComm

    def __init__(self, *arguments: Any, guard: Guard, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.guard = guard

    async def _handle_stream(self, stream: Any, address: Any) -> None:
        if self.guard.half_open >= HALF_OPEN_LIMIT:
            stream.close()
            return
        self.guard.half_open += 1
        try:
            comm = await asyncio.wait_for(self._introduce(stream, address), HANDSHAKE_S)
        except TimeoutError:
            self.guard.trust.on_refused(f"{address[0]}: it did not say who it is within {HANDSHAKE_S:.0f} s")
            stream.close()
            return
        except (CommClosedError, OSError):
            return
        finally:
            self.guard.half_open -= 1
        if comm is not None:
            await self.comm_handler(comm)

    async def _introduce(self, stream: Any, address: Any) -> GuardedComm | None:
        """Finish TLS, find out who it is, and exchange Dask's greetings."""
        try:
            await stream.wait_for_handshake()
        except OSError as error:
            self.guard.trust.on_refused(f"{address[0]}: {getattr(error, 'real_error', None) or error}")
            return None
        if self.tcp_server is None:
            stream.close()
            return None
        contact = f"{self.prefix}{address[0]}:{address[1]}"
        comm = GuardedComm(stream, self.contact_address, contact, self.deserialize)
        try:
            comm.peer = self.guard.trust.admit(comm.extra_info.get("peercert"), policy.ROLES[self.guard.side])
        except PeerRefused as error:
            self.guard.trust.on_refused(f"{address[0]}: {error}")
            comm.abort()
            return None
        comm.guard, comm.is_inbound = self.guard, True
        comm.allow_offload = self.allow_offload
        self.guard.comms.add(comm)
        try:
            await self.on_connection(comm)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            self.guard.comms.discard(comm)
            comm.abort()
            self.guard.trust.on_refused(f"{comm.peer} at {address[0]}: its greeting is not Dask's: {error!r:.200}")
            return None
        except BaseException:
            self.guard.comms.discard(comm)
            comm.abort()
            raise
        return comm


class GuardedBackend(BaseTCPBackend):  # type: ignore[misc]
    """What Dask looks up for the scheme."""

    _connector_class = GuardedConnector
    _listener_class = GuardedListener


class GuardedSecurity(Security):  # type: ignore[misc]
    """What Dask asks for its TLS arguments: the live contexts, and the guard that goes with them."""

    def __init__(self, guard: Guard) -> None:
        super().__init__(require_encryption=True)
        self.guard = guard

    def get_listen_args(self, role: str) -> dict[str, Any]:
        """Return the arguments of a listener."""
        return {"ssl_context": self.guard.trust.server, "require_encryption": True, "guard": self.guard}

    def get_connection_args(self, role: str) -> dict[str, Any]:
        """Return the arguments of a connector."""
        return {"ssl_context": self.guard.trust.client, "require_encryption": True, "guard": self.guard}


def tell_refused(text: str) -> Any:
    """Answer a request that was refused: the caller raises :exc:`RoleRefused`, and Dask's log stays quiet."""
    return error_message(RoleRefused(text))


# Dask finds schemes in this table; the entry has no state, the guards travel in the arguments
backends[SCHEME] = GuardedBackend()
