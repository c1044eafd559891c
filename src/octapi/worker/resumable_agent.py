"""What a worker keeps while its connection to the master comes and goes: the agent, its slots, and what it has said.

What the agent says of a batch is kept until the master settles it, that is, until the client has it.  A master that was
started anew, or a connection that broke, costs no job: batches go on meanwhile, and the next connection says first
which batches there are, and then again what their clients have not heard.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from octapi.device.sensors import Sensors
from octapi.namespaces.dispy import Namespace
from octapi.pool.agent import Agent
from octapi.protocol.worker_messages import LASTING, Begun, Ready, Refused, Replaying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from octapi.device.accounts import Account
    from octapi.protocol.news import AgentNews
    from octapi.protocol.worker_messages import Key, OfBatch


class ResumableAgent:
    """One agent, from the start of its process to the end."""

    def __init__(self, slots: int, name: str, account: Account | None = None) -> None:
        self.slots = slots
        self.name = name
        self.account = account
        #: tells this run of the agent from others of the same worker
        self.life = uuid.uuid4().hex[:12]
        self.agent: Agent | None = None
        #: what the master and monitoring systems are told of this device
        self.sensors = Sensors()
        self.log: dict[Key, list[OfBatch]] = {}
        self._send: Callable[[AgentNews], None] | None = None

    def open(self, address: str) -> Agent:
        """Return the agent, started the first time; ``address`` is what jobs see as their node's."""
        if self.agent is None:
            self.agent = Agent(self.slots, Namespace(self.name, address), self.post, self.account)
            self.agent.start()
        return self.agent

    def close(self) -> None:
        """Stop the slots."""
        self._send = None
        if self.agent is not None:
            self.agent.close()

    # ---- what the agent says

    def connect(self, send: Callable[[AgentNews], None] | None) -> None:
        """Let what the agent says go this way from now on; None while there is no master."""
        self._send = send

    @property
    def is_connected(self) -> bool:
        """Say whether there is a master to talk to."""
        return self._send is not None

    def post(self, message: AgentNews) -> None:
        """Take one message of the agent."""
        if isinstance(message, LASTING):
            self.log.setdefault(message.key, []).append(message)
        if self._send is not None:
            self._send(message)

    def standing(self) -> dict[str, Any]:
        """Return what a master must know that has not seen this worker before."""
        if self.agent is None:
            return {"life": self.life, "batches": [], "computations": []}
        batches = [*self.agent.batches, *(key for key in self.log if key not in self.agent.batches)]
        return {"life": self.life, "batches": batches, "computations": list(self.agent.computations.known)}

    def announce(self) -> None:
        """Say of each computation how it stands; a master that has not seen this worker before does not know."""
        if self.agent is None:
            return
        for digest, known in self.agent.computations.known.items():
            if known.refused:
                self.post(Refused(digest, known.refused))
            elif known.is_ready:
                self.post(Ready(digest))

    # ---- what the master says of batches

    def replay(self, key: Key, heard: int) -> None:
        """Say again what the client of a batch has not heard."""
        if self._send is None:
            return
        self._send(Replaying(key))
        for message in self.log.get(key, ())[heard:]:
            self._send(message)
        batch = None if self.agent is None else self.agent.batches.get(key)
        if batch is not None and batch.child is not None:
            self._send(Begun(key, max(batch.seen, batch.skip)))

    def settled(self, keys: Iterable[Any]) -> None:
        """Forget what was said of batches whose clients have it all."""
        for session, ident in keys:
            self.log.pop((session, ident), None)

    def drop(self, keys: Iterable[Any]) -> None:
        """Stop batches that nobody waits for."""
        for session, ident in keys:
            if self.agent is not None:
                self.agent.drop((session, ident))
            self.log.pop((session, ident), None)

    def kill(self, session: str) -> None:
        """Stop all batches of a client that is gone."""
        if self.agent is not None:
            self.agent.on_kill(session)
        for key in [key for key in self.log if isinstance(key, tuple) and key[0] == session]:
            del self.log[key]
