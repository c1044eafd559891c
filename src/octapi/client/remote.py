"""The link to a master: one connection, on which batches go out and messages of agents come back."""

from __future__ import annotations

import asyncio
import getpass
import os
import platform
import secrets
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi import _version
from octapi.client.endpoint import CONNECT_S, refused
from octapi.client.link import REMOTE
from octapi.client.waiting import StatusLine
from octapi.errors import ClusterError, JobNotSent, MasterLost, MasterNotFound, MessageRefused, PeerRefused
from octapi.protocol import client_messages as said
from octapi.protocol import news, replies, wire
from octapi.protocol.messages import Channel, kinds, parse, plain, word_of
from octapi.protocol.outcome import MISSING, WorkerInfo
from octapi.protocol.reliable import Outbox, ReceivedCounter
from octapi.settings import Internal, internal
from octapi.text.back_off import BackOff
from octapi.text.reasons import in_words
from octapi.text.stderr import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.client.dask_target import DaskTarget
    from octapi.client.endpoint import MasterEndpoint
    from octapi.client.link import Receiver
    from octapi.protocol.specs import BatchSpec, ComputationFacts
    from octapi.protocol.stream import FrameStream
    from octapi.settings import Settings

#: how long a master may take to greet a client that comes back, in seconds
ANSWER_S = 10.0
#: how often what came is acknowledged, and how long the connection may be without a message, in seconds
BEAT_S = 0.25
PULSE_S = 5.0
SILENT_S = 15.0
#: how often to try to come back, and how often to say so, in seconds
AGAIN_S = 0.5
SPEAK_S = 0.5
#: how long workers have to come back after their master was started anew, in seconds
MISSING_S = 30.0


class RemoteLink:
    """The way to a master's slots: a session, over one connection after the other."""

    def __init__(self, way: MasterEndpoint, settings: Settings, recoverable: bool = False) -> None:
        self.way = way
        self.endpoint: MasterEndpoint | None = way
        self.on_report: Callable[[dict[str, Any]], None] = lambda _: None
        self.kind = REMOTE
        self.session = secrets.token_hex(8)
        self.token = secrets.token_hex(16)
        self.is_recoverable = recoverable
        self.recovery = {"address": way.source, "token": self.token}
        self.settings = settings
        self.workers: dict[str, WorkerInfo] = {}
        self.receiver: Receiver | None = None
        #: what the master takes, at most, as the arguments of one job, in megabytes
        self.largest_mb = settings.largest_mb
        self.writer: FrameStream | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.dask_address = ""
        self.target: DaskTarget | None = None
        self.run_id = ""
        self.closing = False
        self.is_connected = False
        self.outbox = Outbox()
        self.counter = ReceivedCounter()
        self.summary: dict[str, Any] = {}
        #: how many bytes were given to the connection since nothing waited there
        self._given = 0
        #: workers of a master that was started anew, until they are back
        self.missing: dict[str, WorkerInfo] = {}
        self._missing_until = 0.0
        self._heard = 0.0

    # ---- connecting

    async def start(self, receiver: Receiver) -> None:
        """Connect, and wait for the master's greeting."""
        self.hear_for(receiver)
        loop = asyncio.get_running_loop()
        reader = await self._connect()
        try:
            facts = await self._greet(reader, max(self.settings.patience_s, CONNECT_S))
            self._take_workers(facts["workers"])
        except ClusterError:
            raise
        except Exception as error:  # it hung up, said nothing, or something else: whatever it is, it is no master
            raise MasterNotFound(
                f"Something answered at {self.way.label}, but not as an OctaPi master does. Is it the right port?"
            ) from error
        self.way.look = self.way.rediscover_after_loss
        self.tasks = [loop.create_task(self._live(reader)), loop.create_task(self._beat())]

    def hear_for(self, receiver: Receiver) -> None:
        """Say who is told what the master says."""
        self.receiver = receiver
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            replies.Seen: lambda reply: self.outbox.acknowledge(reply.number),
            replies.Workers: lambda reply: self._take_workers(reply.rows),
            replies.Stop: lambda _: receiver.stop_jobs(),
            replies.StopJob: lambda reply: receiver.stop_job(reply.ident),
            replies.Others: lambda reply: receiver.set_others(reply.scripts, reply.placed),
            replies.Pace: lambda reply: receiver.set_pace(reply.seconds),
            replies.Refused: self._refused,
        }

    async def _connect(self) -> FrameStream:
        deadline = asyncio.get_running_loop().time() + self.settings.patience_s
        again = BackOff()
        while True:
            try:
                self.writer = await self.way.open(self.settings.patience_s)
                return self.writer
            except OSError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise MasterNotFound(
                        f"No master answers at {self.way.label} ({in_words(error)}). Start one there with "
                        "'octapi master', or check the address and the firewall."
                    ) from error
                if again.is_due(in_words(error), time.monotonic()):
                    say(f"octapi: waiting for the master at {self.way.label} ({in_words(error)})")
                await asyncio.sleep(1)

    async def _greet(self, reader: FrameStream, patience_s: float, again: bool = False) -> dict[str, Any]:
        """Say who this is, and return the master's greeting.  Raises what :func:`refused` returns."""
        assert self.writer is not None
        self.writer.write(wire.pack(("hello", self.introduction(again))))
        kind, facts = await asyncio.wait_for(wire.read_frame(reader), patience_s)
        if kind == "refused":
            raise refused(facts, self.way.label)
        self.way.confirm(facts["time"])
        self.largest_mb = facts.get("largest", self.largest_mb)
        scheme = "tcp" if self.way.trust is None else "octapi"
        self.run_id = str(facts["run"])
        self.dask_address = f"{scheme}://{self.way.host}:{facts['dask_port']}"
        self._heard = asyncio.get_running_loop().time()
        self.is_connected = True
        return dict(facts)

    def introduction(self, again: bool) -> dict[str, Any]:
        """Return what the master must know of this client; ``again`` after a connection broke."""
        mine = {"session": self.session, "token": self.token, "recoverable": self.is_recoverable, "again": again}
        mine |= {"seen": self.counter.tell(), "absence_s": self.settings.reconnect_s}
        if self.run_id:
            mine["run"] = self.run_id
        return hello() | mine

    # ---- living with connections that break

    async def _live(self, reader: FrameStream) -> None:
        """Read; when the connection breaks, make another."""
        assert self.receiver is not None
        try:
            while True:
                why = await self._read(reader)
                self.is_connected = False
                reader = await Reconnector(self, why).wait()
        except Exception as error:  # whatever it is, jobs must not wait for a link that reads no more
            if not self.closing:
                self.receiver.link_lost(error if isinstance(error, ClusterError) else MasterLost(repr(error)))

    async def _read(self, reader: FrameStream) -> str:
        """Take messages until the connection breaks; return why.  Raises what the master's refusal says."""
        try:
            while True:
                self.take(await wire.read_body(reader, progress=self._is_alive))
        except (asyncio.IncompleteReadError, OSError) as error:
            return str(error) if isinstance(error, OSError) and error.errno else "it hung up"

    def _is_alive(self) -> None:
        self._heard = asyncio.get_running_loop().time()

    def take(self, body: wire.Buffer) -> None:
        """Take one message of the master; one that cannot be used is said, and the next ones are heard.

        Raises what the master's refusal says.
        """
        self._heard = asyncio.get_running_loop().time()
        try:
            self._take(wire.unpack(body), len(body))
        except MessageRefused as error:  # by the readers here: no refusal of the master's
            self._complain(error, "a message of the master")
        except ClusterError:
            raise
        except Exception as error:
            self._complain(error, "a message of the master")

    def _complain(self, error: Exception, where: str) -> None:
        assert self.receiver is not None
        self.receiver.complain(error, where)

    def _take(self, message: Any, size: int) -> None:
        if word_of(message) not in kinds(Channel.TO_CLIENT):
            return  # a later release of the master says more
        reply = parse(Channel.TO_CLIENT, message)
        if isinstance(reply, replies.FromAgent):
            self._take_of_agent(reply, size)
        elif handler := self._handlers.get(type(reply)):
            handler(reply)

    def _take_of_agent(self, reply: replies.FromAgent, size: int) -> None:
        assert self.receiver is not None
        is_time = self.counter.took(size)
        self.receiver.message(reply.worker, news.read(reply.message))
        if is_time:
            self._acknowledge()

    def _refused(self, reply: replies.Refused) -> None:
        raise refused(reply.facts, self.way.label)

    async def resume(self) -> FrameStream:
        """Connect again, and go on where the connection broke.

        Raises OSError, asyncio.IncompleteReadError and :exc:`ClusterError` when that fails.
        """
        stream = self.writer = await self.way.open(CONNECT_S)
        try:
            facts = await self._greet(stream, ANSWER_S, again=True)
        except BaseException:
            stream.close()
            raise
        self.go_on(facts, stream)
        return stream

    def go_on(self, facts: dict[str, Any], writer: FrameStream) -> None:
        """Go on over another connection; the master's greeting says whether it knows this session."""
        if facts["session"]:
            self.outbox.acknowledge(facts["seen"])
            wire.write(writer, self.outbox.since(facts["seen"]))
            self._take_workers(facts["workers"])
        else:
            self._start_anew(facts)
        self.report(self.summary)
        assert self.receiver is not None
        self.receiver.retell()

    def _start_anew(self, facts: dict[str, Any]) -> None:
        """Tell another process of the master everything; its workers are given time to come back."""
        assert self.receiver is not None
        unseen = [
            wire.unpack(bytes(frame)[wire.LENGTH.size :]) for frame in self.outbox.since(self.outbox.acknowledged)
        ]
        self.outbox, self.counter = Outbox(), ReceivedCounter()
        self.missing = dict(self.workers)
        self._missing_until = asyncio.get_running_loop().time() + MISSING_S
        self.receiver.master_renewed()
        for message in unseen:
            if word_of(message) == "tell":
                self._send_surely(said.Tell(*message[1:]))
        self._take_workers(facts["workers"])

    async def _beat(self) -> None:
        """Acknowledge what came, give signs of life, and end a connection that gives none."""
        loop = asyncio.get_running_loop()
        told = loop.time()
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                told = self._pulse(loop.time(), told)
            except Exception as error:  # the next one may succeed
                self._complain(error, "a sign of life")

    def _pulse(self, now: float, told: float) -> float:
        """Do what is due; return when the master was told last."""
        if self.missing and now > self._missing_until:
            self.missing = {}
            self._take_workers([info._asdict() for info in self.workers.values() if info.state != MISSING])
        if not self.is_connected or self.writer is None:
            return told
        if self.counter.is_due or now - told > PULSE_S:
            told = now
            self._acknowledge()
        if now - self._heard > SILENT_S:
            self.writer.abort()
        return told

    def _acknowledge(self) -> None:
        self._send(said.Seen(self.counter.tell()))

    def _take_workers(self, rows: list[dict[str, Any]]) -> None:
        assert self.receiver is not None
        found = {row["name"]: WorkerInfo(**row) for row in rows}
        self.missing = {name: info for name, info in self.missing.items() if name not in found}
        self.workers = {name: info._replace(state=MISSING) for name, info in self.missing.items()} | found
        self.receiver.workers_changed(dict(self.workers))

    # ---- sending

    def _send(self, message: Any) -> None:
        """Send what may be missed."""
        if self.is_connected and self.writer is not None and not self.writer.is_closing():
            self.writer.write(wire.pack(plain(message)))

    def _send_surely(self, message: Any) -> None:
        """Send what must arrive: it is kept until the master has it."""
        frame = wire.frame(plain(message))
        if len(frame) > wire.frame_limit(self.largest_mb):
            raise too_long(len(frame), self.largest_mb)
        self.outbox.append(frame)
        if self.is_connected and self.writer is not None and not self.writer.is_closing():
            self._given = len(frame) + (self._given if self.writer.unsent else 0)
            wire.write(self.writer, (frame,))

    @property
    def travel(self) -> tuple[int, int]:
        """Return how many bytes of what was sent last have left this computer, and how many there are."""
        left = 0 if self.writer is None else self.writer.unsent
        return max(0, self._given - left), self._given if left else 0

    def define(self, digest: str, spec: bytes, facts: ComputationFacts) -> None:
        """Send a computation to the master, which keeps it for workers that join later."""
        self._send_surely(said.Define(digest, wire.blob(spec), facts))

    def run(self, ident: int, queue: int, digest: str, spec: BatchSpec) -> None:
        """Send a batch."""
        self._send_surely(said.Run(ident, queue, digest, spec))

    def claim(self, rows: list[tuple[Any, ...]]) -> None:
        """Say which batches another process of the master held."""
        epochs = {name: info.life for name, info in self.workers.items()}
        self._send_surely(said.Claim(epochs, [list(row) for row in rows]))

    def tell(self, worker: str | None, order: Any) -> None:
        """Send an order on to an agent."""
        self._send_surely(said.Tell(worker, list(plain(order))))

    def report(self, summary: dict[str, Any]) -> None:
        """Tell the master how far this client is."""
        self.summary = dict(summary, story=None)
        self._send(said.Summary(summary))
        self.on_report(summary)

    async def close(self) -> None:
        """Say goodbye."""
        self.closing = True
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.writer is not None:
            self._send(said.Bye())
            self.writer.close()
            await self.writer.wait_closed()


class Reconnector:
    """The wait for a master that was there and has gone; it is never silent, and has a limit."""

    def __init__(self, link: RemoteLink, why: str) -> None:
        self.link = link
        self.why = why
        self.limit_s = link.settings.reconnect_s

    async def wait(self) -> FrameStream:
        """Return the new connection's reader.  Raises :exc:`MasterLost`, or what the master's refusal says."""
        since = time.monotonic()
        speaking = asyncio.get_running_loop().create_task(self._speak(since))
        try:
            while True:
                try:
                    return await self.link.resume()
                except (OSError, asyncio.IncompleteReadError, PeerRefused, MasterNotFound) as error:
                    self.why = str(error) or type(error).__name__
                if time.monotonic() - since > self.limit_s:
                    raise MasterLost(self._given_up())
                await asyncio.sleep(AGAIN_S)
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)

    def _given_up(self) -> str:
        return (
            f"The master at {self.link.way.label} went away and did not come back within {self.limit_s:.0f} s "
            f"({self.why}). Start it again with 'octapi master' and run the script again; OCTAPI_RECONNECT_S sets "
            "how long to wait."
        )

    async def _speak(self, since: float) -> None:
        speaker = StatusLine()
        label = self.link.way.label
        try:
            while True:
                left_s = max(0.0, self.limit_s - (time.monotonic() - since))
                speaker.hear(
                    f"the master at {label} does not answer ({self.why}); jobs that run go on. Waiting for it, "
                    f"{left_s:.0f} s more at most."
                )
                await asyncio.sleep(SPEAK_S)
        finally:
            if speaker.has_told and self.link.is_connected:
                speaker.hear(None)
                say(f"octapi: the master at {self.link.way.place} is back; going on.")


def hello() -> dict[str, Any]:
    """Say who this client is."""
    words = [str(word).encode("utf-8", "replace").decode() for word in getattr(sys, "argv", None) or [""]]
    return {
        "protocol": wire.PROTOCOL,
        "oldest": wire.OLDEST_PROTOCOL,
        "release": _version.__version__,
        "python": platform.python_version(),
        "script": Path(words[0]).name,
        "arguments": [part[:200] for part in words[1:51]],
        "run": internal(Internal.RUN),
        "host": socket.gethostname(),
        "user": user(),
        "pid": os.getpid(),
    }


def user() -> str:
    """Return the name of the user, if there is one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def too_long(size: int, largest_mb: int) -> JobNotSent:
    """Return the error for what the master would not read: it would end the connection."""
    text = (
        f"What it needs takes {size / 1e6:,.0f} MB with its code and files; the master takes {largest_mb:,} MB "
        "(largest_mb). Put what is large into a file that workers can read, or set OCTAPI_LARGEST_MB on the master."
    )
    return JobNotSent(text, arguments="...")
