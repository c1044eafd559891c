"""How a master, a worker and another service log: through ``logging``, on stderr, for people, the journal or programs.

Every room has a logger of its name, such as ``octapi.worker``.  Only commands, and the processes that they start, call
:func:`set_up`; importing OctaPi changes nothing of how a program logs.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from octapi.errors import SettingsError
from octapi.settings import Settings
from octapi.telemetry import levels
from octapi.telemetry.redaction import Redaction
from octapi.text.escape import LONGEST, shown
from octapi.text.stderr import story_of, write

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = "octapi"
#: the logger of what a command itself says, before and after its service
COMMAND: Final = "octapi.cli"
LEVELS: Final = ("debug", "info", "warning", "error")
#: the longest text of one record for people, in characters
LIMIT: Final = 4000
#: ``extra`` of what goes to stdout: that a service is ready, and where it is
ON_STDOUT: Final = {"on_stdout": True}
#: ``extra`` of a text with several lines that nobody else has made; line ends of others would forge lines
LINES: Final = {"has_lines": True}


class LogOptions(NamedTuple):
    """What is logged, from which level on, and whether each record is one line of JSON."""

    level: str = "info"
    as_json: bool = False

    @classmethod
    def load(cls, level: str | None = None, as_json: bool | None = None) -> LogOptions:
        """Return the settings, and what was given as options; None leaves the setting.  Raises :exc:`SettingsError`."""
        found = Settings.load(log_level=level, log_json=as_json)
        name = found.log_level.lower()
        if name not in LEVELS:
            raise SettingsError(f"The log's level is {found.log_level!r}; it must be one of {', '.join(LEVELS)}.")
        return cls(name, found.log_json)


class PeopleFormatter(logging.Formatter):
    """One line as people read it, with its ``speaker`` in front; what others named does nothing to a terminal."""

    def __init__(self, speaker: str) -> None:
        super().__init__()
        self.speaker = speaker

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record; only an error's traceback has lines of its own."""
        text = record.getMessage()
        if not is_ours(record):
            return with_error(text, record)
        said = [shown(line, LIMIT) for line in (text.split("\n") if hasattr(record, "has_lines") else [text])]
        said[0] = f"{ROOT if record.name == COMMAND else self.speaker}: {said[0]}"
        trace = with_error("", record).strip("\n")
        return "\n".join(said + ([shown(line, LONGEST) for line in trace.split("\n")] if trace else []))


class JsonFormatter(logging.Formatter):
    """One line of JSON: ``time`` (RFC 3339, UTC), ``level``, ``logger`` and ``text``, which holds an error too."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; it is ASCII, so nothing in it acts on a terminal or ends it."""
        fields = {"time": rfc3339(record.created), "level": record.levelname.lower(), "logger": record.name}
        return json.dumps(fields | {"text": with_error(record.getMessage(), record)})


class ServiceHandler(logging.Handler):
    """Writes records to stderr, or to stdout as :data:`ON_STDOUT` says; where nobody can read them, it does nothing."""

    def __init__(self, speaker: str, options: LogOptions) -> None:
        super().__init__()
        self.speaker = speaker
        self.options = options
        self.addFilter(Redaction())
        self.setFormatter(JsonFormatter() if options.as_json else PeopleFormatter(speaker))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a text that cannot be made of one is the program's fault, and is said as logging does."""
        try:
            stream = sys.stdout if hasattr(record, "on_stdout") else sys.stderr
            text = self.format(record)
            write(stream, (levels.marked(text, record.levelno) if levels.is_journal(stream) else text) + "\n")
        except Exception:
            self.handleError(record)


class Adopted(logging.Formatter):
    """A library's records as its own formatter makes them, marked for the journal, or as JSON."""

    def __init__(self, own: logging.Formatter | None, as_json: bool) -> None:
        super().__init__()
        self._own = JsonFormatter() if as_json else own or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Return the text."""
        text = self._own.format(record)
        return levels.marked(text, record.levelno) if levels.is_journal() else text


def is_ours(record: logging.LogRecord) -> bool:
    """Say whether a record is of OctaPi's own loggers."""
    return record.name == ROOT or record.name.startswith(f"{ROOT}.")


def with_error(text: str, record: logging.LogRecord) -> str:
    """Return a text with the traceback and the stack of its record."""
    error = record.exc_info[1] if record.exc_info else None
    trace = record.exc_text or ("" if error is None else story_of(error))
    return "\n".join(filter(None, (text, trace, record.stack_info)))


def rfc3339(seconds: float) -> str:
    """Return a moment, in epoch seconds, as text: UTC, to the millisecond."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1000):03}Z"


# ---- what a process has set up


def set_up(speaker: str, options: LogOptions = LogOptions(), *, with_others: bool = True) -> None:  # noqa: B008
    """Let this process, which is a service and no program of a user's, log as ``speaker``, such as ``octapi worker``.

    Without ``with_others`` only OctaPi's own loggers write so: where users' code runs, the root logger is theirs.
    """
    handler = ServiceHandler(speaker, options)
    ours, root = logging.getLogger(ROOT), logging.getLogger()
    for logger in (ours, root):
        for old in [found for found in logger.handlers if isinstance(found, ServiceHandler)]:
            logger.removeHandler(old)
    ours.setLevel(options.level.upper())
    (root if with_others else ours).addHandler(handler)
    ours.propagate = with_others


def of_process() -> ServiceHandler | None:
    """Return what :func:`set_up` has made; None in a program of a user's."""
    found = (*logging.getLogger(ROOT).handlers, *logging.getLogger().handlers)
    return next((handler for handler in found if isinstance(handler, ServiceHandler)), None)


def plain() -> list[Any]:
    """Return the options of this process, for the start message of one that it starts."""
    found = of_process()
    return list(LogOptions() if found is None else found.options)


def options_of(start: Mapping[str, Any]) -> LogOptions:
    """Return the options in the start message ``start``; the defaults where a script started this process."""
    return LogOptions(*start.get("log", ()))


def adopt(name: str) -> None:
    """Let the handlers that a library has given its logger write as this process does, and no secrets."""
    found = of_process()
    for handler in logging.getLogger(name).handlers if found is not None else ():
        assert found is not None
        if not isinstance(handler.formatter, Adopted):
            handler.addFilter(Redaction())
            handler.setFormatter(Adopted(handler.formatter, found.options.as_json))


def template(name: str, level: int) -> str:
    """Return the line that a logger writes now, with TEXT and TIME in it, for a process without this module.

    It is empty if such lines are not logged.
    """
    if not logging.getLogger(name).isEnabledFor(level):
        return ""
    record = logging.LogRecord(name, level, "", 0, "TEXT", None, None)
    found = of_process()
    if found is None or not found.options.as_json:
        return PeopleFormatter(ROOT if found is None else found.speaker).format(record)
    return json.dumps(json.loads(found.format(record)) | {"time": "TIME"})
