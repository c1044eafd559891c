"""Programs as computations: a file that is run, its exit code the result."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from octapi.protocol.computation import Computation


class Ran(NamedTuple):
    """What a program left: its exit code (negative signal if it was killed) and its output as bytes."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def runner(computation: Computation) -> Callable[[bytes], Callable[..., Ran]]:
    """Return what makes the callable of one job: it runs the program with str() of each positional argument."""

    def run(*args: object, **_ignored: object) -> Ran:
        here = os.getcwd()
        path = computation.entry if os.path.isabs(computation.entry) else os.path.join(here, computation.entry)
        prefix = [sys.executable] if path.endswith(".py") else ["java"] if path.endswith(".java") else []
        environment = dict(os.environ, PATH=here + os.pathsep + os.environ.get("PATH", os.defpath))
        process = subprocess.Popen(
            [*prefix, path, *(str(arg) for arg in args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
        try:
            stdout, stderr = process.communicate()
        except KeyboardInterrupt:
            process.send_signal(2)
            stdout, stderr = process.communicate()
        return Ran(process.returncode, stdout, stderr)

    return lambda more: run
