"""Taking and showing secrets: tokens come by argument, file, variable or prompt, and are shown on terminals only."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from octapi.errors import TokenRefused
from octapi.settings import Internal, take_internal, variable

VARIABLE = "OCTAPI_TOKEN"


def take(given: str, file: Path | None, *, ask: bool) -> str:
    """Return the token, or an empty text if nobody gave one.

    A token in the arguments or the environment can be read by every login of this computer, so the process starts
    itself again without it.  Raises :exc:`TokenRefused` when a file cannot be read.
    """
    handle = take_internal(Internal.TOKEN_FD)
    if handle is not None:
        with os.fdopen(int(handle)) as pipe:
            return pipe.read().strip()
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise TokenRefused(f"The token's file cannot be read: {error}.") from error
    text = given or variable("token")
    if text == "-":
        return sys.stdin.readline().strip()
    if text:
        start_again(text)
    if ask and sys.stdin.isatty():
        return getpass.getpass("Token (from 'octapi token create' on the master): ").strip()
    return ""


def start_again(token: str) -> None:
    """Replace this process by itself, with the token in a pipe instead of in its arguments."""
    ours, theirs = os.pipe()
    os.write(theirs, token.encode()[:4096])
    os.close(theirs)
    os.set_inheritable(ours, True)
    env = {key: value for key, value in os.environ.items() if key != VARIABLE} | {Internal.TOKEN_FD: str(ours)}
    arguments = [argument for argument in sys.argv[1:] if argument != token]
    os.execve(sys.executable, [sys.executable, "-m", "octapi.cli.app", *arguments], env)


def shows(is_wanted: bool = False) -> bool:
    """Say whether a secret may be printed: to a person at a terminal, or because that was asked for."""
    return is_wanted or sys.stdout.isatty()
