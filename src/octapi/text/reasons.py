"""Why something did not work, in words instead of a system's numbers."""

from __future__ import annotations

import errno
import re
import socket
from typing import Final

NUMBER: Final = re.compile(r"\[Errno (\d+)\]")
#: what errors of the system mean for who reads of them here
WORDS: Final = {
    errno.ECONNREFUSED: "nothing listens there, or a firewall refuses it",
    errno.ECONNRESET: "it hung up",
    errno.EPIPE: "it hung up",
    errno.EHOSTUNREACH: "no device answers at that address",
    errno.ENETUNREACH: "there is no way to that network from here",
    errno.ETIMEDOUT: "no answer",
    errno.ENOENT: "there is no such file",
    errno.EACCES: "this account may not",
    errno.EPERM: "this account may not",
    errno.EADDRINUSE: "another program has that port",
    errno.EADDRNOTAVAIL: "this device has no such address",
    errno.ENOSPC: "the disk is full",
    errno.EROFS: "the disk is read-only",
    errno.EMFILE: "this process has too many files open",
}


def in_words(error: BaseException) -> str:
    """Say why something failed, never with an empty text: by the first error behind it that says anything."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        if (text := own_words(found)) and found.__cause__ is None:
            return text
        seen.append(found)
        found = found.__cause__
    return next(filter(None, map(own_words, reversed(seen))), type(error).__name__)


def own_words(error: BaseException) -> str:
    """Return what one error says; an empty text if it says nothing."""
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer"
    if isinstance(error, socket.gaierror):
        return "no host of that name is known here"
    if isinstance(error, OSError):
        numbers = [error.errno] if error.errno else [int(number) for number in NUMBER.findall(str(error))]
        known = list(dict.fromkeys(WORDS[number] for number in numbers if number in WORDS))
        if known:
            place = f" ({error.filename})" if error.filename else ""
            return "; ".join(known) + place
        return NUMBER.sub("", error.strerror or str(error)).strip(" :")
    return str(error).strip()
