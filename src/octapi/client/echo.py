"""What the jobs of one ``map`` print, on the script's stderr, line by line as it arrives, and bounded."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from octapi.text.escape import shown_lines, visible

if TYPE_CHECKING:
    from collections.abc import Iterable

#: what of one map is shown at most
LINES: Final = 200
LETTERS: Final = 64_000
#: the most letters of one line
LONGEST: Final = 2_000
#: how long the end of a map waits for lines that are being written, in seconds
PATIENCE_S: Final = 5.0


class Echo:
    """Writes one map's output from a thread of its own: who waits for a slow terminal is this thread only.

    ``function`` is the name of what is mapped.  :meth:`hear` may be called from any thread, and never blocks.
    """

    def __init__(self, function: str) -> None:
        self._function = function
        self._lines_left = LINES
        self._letters_left = LETTERS
        self._left_out = 0
        self._texts: deque[str] = deque()
        self._is_closed = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def hear(self, place: str, texts: Iterable[str]) -> None:
        """Take what one job printed; ``place`` stands before each line, unless it is empty."""
        head = f"[{visible(place)}] " if place else ""
        for text in texts:
            if text:
                self._take(head, shown_lines(text))

    def close(self) -> None:
        """Take no more, say how much was left out, and let what was taken be written."""
        with self._lock:
            if self._is_closed:
                return
            if self._left_out:
                self._say(
                    f"octapi: {self._left_out:,} more lines that jobs of {self._function} printed are not shown; "
                    "with submit each job's own are in job.stdout and job.stderr.\n"
                )
            self._is_closed = True
            thread = self._thread
        if thread is not None:
            thread.join(PATIENCE_S)

    def _take(self, head: str, lines: list[str]) -> None:
        with self._lock:
            if self._is_closed:
                return
            shown = []
            for line in lines:
                if self._lines_left <= 0 or self._letters_left <= 0:
                    break
                self._lines_left -= 1
                shown.append(f"{head}{shortened(line)}\n")
                self._letters_left -= len(shown[-1])
            self._left_out += len(lines) - len(shown)
            if shown:
                self._say("".join(shown))

    def _say(self, text: str) -> None:
        self._texts.append(text)
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="octapi-echo", daemon=True)
            with contextlib.suppress(RuntimeError):  # the interpreter ends, and takes no more threads
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        """Write what there is, and end."""
        while True:
            with self._lock:
                text = "".join(self._texts)
                self._texts.clear()
                if not text:
                    self._thread = None
                    return
            if not written(text):
                with self._lock:
                    self._is_closed = True


def shortened(line: str) -> str:
    """Return a line, or the beginning of one that is very long."""
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}... ({len(line) - LONGEST:,} more letters)"


def written(text: str) -> bool:
    """Write whole lines to the script's stderr; say whether anybody can still read there."""
    stream = sys.stderr
    if stream is None:  # the script runs without one, as under pythonw
        return False
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError, LookupError):  # its reader has gone, or the script closed it
        return False
    return True
