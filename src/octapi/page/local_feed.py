"""The feed of a page that a script started for its own cores: the script sends frames over stdin while it lives."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from octapi.errors import OctapiError
from octapi.protocol import stdio_json
from octapi.protocol.client_messages import Stop, StopJob
from octapi.protocol.messages import plain

#: how long the first frame may take, in seconds
PATIENCE_S = 5.0


class LocalFeed:
    """Tells the script who looks, and takes what it sends."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self._lookers = 0

    @contextlib.contextmanager
    def looking(self) -> Any:
        """Have frames sent for as long as the block lasts."""
        self._lookers += 1
        stdio_json.tell({"kind": "look", "lookers": self._lookers})
        try:
            yield
        finally:
            self._lookers -= 1
            stdio_json.tell({"kind": "look", "lookers": self._lookers})

    async def fresh(self) -> None:
        """Ask for a frame, and wait for the first."""
        stdio_json.tell({"kind": "look", "lookers": self._lookers})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ready.wait(), PATIENCE_S)

    async def ask(self, question: Any) -> Any:
        """Have the script stop its jobs, or one of them.  Raises :exc:`OctapiError` for all else."""
        if not isinstance(question, Stop | StopJob):
            raise OctapiError("This cluster is one computer: there is nobody to ask for that.")
        stdio_json.tell({"kind": "do", "question": list(plain(question))})
        return True

    async def close(self) -> None:
        """Nothing is open."""
