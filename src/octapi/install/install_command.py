"""The one line that makes a bare device a member: it gets the bootstrap from the master, checks it, and runs it.

The line holds the SHA-256 of the bootstrap, so the network may be anybody's; the bootstrap then checks the master
against the token.  The token comes by stdin, never in arguments.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from octapi.device import discovery
from octapi.errors import WheelProblem
from octapi.install import wheel_server
from octapi.trust.token import parse

#: what runs on the device before anything is trusted; it runs nothing but bytes with the right hash
FIRST: Final = (
    "import hashlib,http.client,ssl,sys;"
    "x=ssl._create_unverified_context();x.set_alpn_protocols(['http/1.1']);"
    "c=http.client.HTTPSConnection('{address}',context=x,timeout=20);c.request('GET','/bootstrap.py');"
    "s=c.getresponse().read(99999);"
    "hashlib.sha256(s).hexdigest()=='{digest}' or "
    "sys.exit('octapi: the master sent another file than this line names');"
    "exec(s)"
)
ADDRESS: Final = re.compile(r"[A-Za-z0-9.\[\]:-]{1,300}:\d{1,5}")
COMMANDS: Final = {"worker": "worker - --install-service", "client": "login -"}


def check(address: str) -> str:
    """Return an address ``host:port``.  Raises :exc:`WheelProblem` when it is none."""
    if not ADDRESS.fullmatch(address):
        raise WheelProblem(f"{address!r} is no address that a device could ask. Write HOST:PORT.")
    return address


def for_token(text: str, role: str) -> str:
    """Return the line of a token, whose device asks at its first address.

    Raises :exc:`WheelProblem` when the token's master does not know under which address another device reaches it.
    """
    addresses = parse(text).addresses
    # loopback is among them only where nobody said which address to advertise
    is_guess = any(address.startswith("127.") for address in addresses)
    if not addresses or (is_guess and discovery.is_inner(addresses[0])):
        raise WheelProblem(
            "This master does not know under which address a device reaches it. Give --address HOST:PORT, or start the "
            "master with --advertise ADDRESS."
        )
    return make(text, role, addresses[0])


def make(token: str, role: str, address: str) -> str:
    """Return the line.  ``address`` is ``host:port`` of the door.  Raises :exc:`WheelProblem` when it is none."""
    digest = hashlib.sha256(wheel_server.installer()).hexdigest()
    code = FIRST.format(address=check(address), digest=digest)
    return f"echo '{token}' | sudo python3 -c \"{code}\" {COMMANDS[role]}"
