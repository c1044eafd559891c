"""The stream of state: server-sent events, encoded once for all who look.

event: state    everything first (``full``), then what has changed
event: story    the story of the one run that was asked for: all of it first (``anew``), then what is new
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from octapi.telemetry.run_trace import without_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from octapi.page.model import Model

#: news that may wait for one reader; a slower one gets everything anew
BACKLOG: Final = 12
#: readers at once
MOST: Final = 300
#: a line is sent at least so often, so that proxies keep the connection, in seconds
BEAT_S: Final = 10.0


def encode(event: str, data: object) -> bytes:
    """Write one event."""
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def pair(run: str, news: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Write news of a story, for those who may read all of it and for those who may not."""
    return encode("story", {"run": run, **news}), encode("story", {"run": run, **without_words(news)})


class Reader:
    """One who reads the stream; ``run`` is the run whose story it wants too, or an empty text.

    One who ``may_read`` not gets stories without output, arguments and tracebacks.
    """

    def __init__(self, run: str, may_read: bool) -> None:
        self.run = run
        self.may_read = may_read
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(BACKLOG)
        self.is_behind = True

    def put(self, data: bytes) -> None:
        """Queue news; one who is too slow will get everything anew."""
        try:
            self.queue.put_nowait(data)
        except asyncio.QueueFull:
            self.is_behind = True


class Hub:
    """Hands news to everybody who reads."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.readers: set[Reader] = set()

    def publish(self, news: dict[str, Any], stories: dict[str, list[dict[str, Any]]]) -> None:
        """Tell all readers."""
        if not self.readers:
            return
        state = encode("state", news)
        wanted = {reader.run for reader in self.readers}
        told = {run: [pair(run, part) for part in parts] for run, parts in stories.items() if run in wanted}
        for reader in self.readers:
            if not reader.is_behind:
                reader.put(state)
                for whole, shy in told.get(reader.run, ()):
                    reader.put(whole if reader.may_read else shy)
            elif reader.queue.empty():
                reader.put(self.everything(reader))
                reader.is_behind = False

    def everything(self, reader: Reader) -> bytes:
        """Return all there is, for one reader."""
        found = encode("state", self._model.snapshot())
        story = self._model.story(reader.run)
        if story is None:
            return found
        whole, shy = pair(reader.run, story.plain())
        return found + (whole if reader.may_read else shy)

    async def read(self, run: str, may_go_on: Callable[[], bool], may_read: bool) -> AsyncIterator[bytes]:
        """Yield events until ``may_go_on`` says no."""
        reader = Reader(run, may_read)
        self.readers.add(reader)
        try:
            yield b"retry: 1000\n\n"
            if self._model.is_known or self._model.trouble["since"]:
                reader.put(self.everything(reader))
                reader.is_behind = False
            while may_go_on():
                try:
                    yield await asyncio.wait_for(reader.queue.get(), BEAT_S)
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self.readers.discard(reader)
