"""The last step before a submitted script: become its account, and be the script.

It runs for a moment as whoever runs the master; what it is to do comes over stdin, because arguments are for everybody
to read.  The script dies when the process that started it does.
"""

from __future__ import annotations

import os
import resource
import sys

from octapi.device import accounts, parent
from octapi.protocol import stdio_json


def main() -> None:
    """Be the script."""
    master = os.getppid()
    start = stdio_json.read_first()
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    accounts.become(start["account"])
    parent.die_with(master)  # the kernel forgets this wish whenever a process changes its account
    os.chdir(start["directory"])
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.execve(sys.executable, [sys.executable, *start["command"]], start["environment"])


if __name__ == "__main__":
    main()
