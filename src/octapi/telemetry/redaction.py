"""The one place where secrets are taken out of what a service logs.

Nothing of OctaPi logs a secret; but errors of libraries and of the system repeat what they were given.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from octapi.text.stderr import story_of

HIDDEN: Final = "[hidden]"
#: shorter values are found in too much that is no secret
SHORTEST: Final = 8
PATTERNS: Final = (
    # tokens by which devices join, and those that a master shares
    re.compile(r"(?P<keep>octapi1\.)[\w.-]+", re.ASCII),
    # links to the page, and the supervisor of balenaOS
    re.compile(r"(?P<keep>\b(?:token|apikey)=)[^\s&\"'<>\\]+", re.IGNORECASE),
    # logins to the page
    re.compile(r"(?P<keep>\boctapi-page=)[^\s;\"'\\]+"),
    # the token of metrics
    re.compile(r"(?P<keep>\bbearer\s+)[\w.~+/=-]{16,}", re.IGNORECASE),
    # keys of certificates and of SSH, to their end or to the end of a text that was cut
    re.compile(r"(?P<keep>-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)  # fmt: skip

_known: set[str] = set()


def hide(secret: str) -> str:
    """Let a secret that no pattern knows never stand in this process's log, and return it."""
    if len(secret) >= SHORTEST:
        _known.add(secret)
    return secret


def redacted(text: str) -> str:
    """Return a text with nothing secret in it."""
    for secret in _known:
        text = text.replace(secret, HIDDEN)
    for pattern in PATTERNS:
        text = pattern.sub(rf"\g<keep>{HIDDEN}", text)
    return text


class Redaction(logging.Filter):
    """Takes secrets out of a record: out of its text, its error and its stack."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without its secrets."""
        record.msg, record.args = redacted(record.getMessage()), None
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            record.exc_text = redacted(story_of(error))
        if record.stack_info:
            record.stack_info = redacted(record.stack_info)
        return True
