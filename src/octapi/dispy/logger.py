"""dispy's own small logger: lines on standard output."""

from __future__ import annotations

import contextlib
import sys
import time


class Logger:
    """Writes ``YYYY-mm-dd HH:MM:SS dispy - text`` for messages of its level and above."""

    DEBUG = 10
    INFO = 20
    WARN = WARNING = 30
    ERROR = 40
    CRITICAL = FATAL = 50

    def __init__(self, name: str) -> None:
        self.name = name
        self.level = self.INFO
        self._ms = False

    def setLevel(self, level: int) -> None:  # noqa: N802  (dispy's name)
        """Drop messages below ``level``."""
        self.level = level

    def show_ms(self, show: bool) -> None:
        """Print milliseconds too, or not."""
        self._ms = bool(show)

    def log(self, level: int, message: object, *args: object) -> None:
        """Write a message, formatted with ``%``."""
        if level < self.level:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        if self._ms:
            stamp += f".{int(now * 1000) % 1000:03d}"
        text = str(message) % args if args else str(message)
        with contextlib.suppress(OSError, ValueError):  # nobody reads it: no reason to end a thread
            print(f"{stamp} {self.name} - {text}", file=sys.stdout, flush=True)

    def debug(self, message: object, *args: object) -> None:
        """Write for those who look for a fault."""
        self.log(self.DEBUG, message, *args)

    def info(self, message: object, *args: object) -> None:
        """Write what happens."""
        self.log(self.INFO, message, *args)

    def warning(self, message: object, *args: object) -> None:
        """Write what may be wrong."""
        self.log(self.WARNING, message, *args)

    warn = warning

    def error(self, message: object, *args: object) -> None:
        """Write what went wrong."""
        self.log(self.ERROR, message, *args)

    def critical(self, message: object, *args: object) -> None:
        """Write what cannot go on."""
        self.log(self.CRITICAL, message, *args)

    fatal = critical

    def flush(self) -> None:
        """Write out what is buffered."""
        sys.stdout.flush()

    def shutdown(self) -> None:
        """Write out what is buffered; the logger stays usable."""
        self.flush()

    def __enter__(self) -> Logger:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()


logger = Logger("dispy")
