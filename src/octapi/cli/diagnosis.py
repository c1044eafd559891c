"""Why a device does or does not reach its cluster: one step after the other, each with what to do."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from octapi.client.connect import any_way, sockets
from octapi.client.endpoint import ask
from octapi.client.remote import hello
from octapi.device import accounts, discovery
from octapi.errors import MasterNotFound, NotAMember, OctapiError, PeerRefused, TrustError
from octapi.protocol.client_messages import Nodes
from octapi.settings import Settings
from octapi.text.addresses import split
from octapi.trust import identity as identities
from octapi.trust import joining, ssh
from octapi.trust.contexts import Trust
from octapi.trust.token import parse

if TYPE_CHECKING:
    from pathlib import Path

    from octapi.trust.identity import Identity
    from octapi.trust.token import Token

CONNECT_S = 3.0
FIREWALL = "Is the device on? Does a firewall on it or in between drop this port? Are both in one network?"
NEW_TOKEN = "Get a new one on the master: octapi token create"
CLOSED = "Is the master running there, with this port? A firewall may also refuse it."


class Step(NamedTuple):
    """One step: ``result`` is ok, note or fail."""

    result: str
    what: str
    text: str
    advice: str = ""


class Diagnosis:
    """Looks at one device."""

    def __init__(self, home: Path, token: str = "") -> None:
        self.home = home
        self.token = token
        self.steps: list[Step] = []

    def _accounts(self) -> None:
        """Say under which accounts scheduler and jobs run here, where root starts them."""
        if not accounts.is_root():
            return
        missing = [name for name in (accounts.SCHEDULER_ACCOUNT, accounts.SLOT_ACCOUNT) if not accounts.is_made(name)]
        closed = accounts.unreadable()
        if closed:
            self.add("note", "accounts", f"jobs and scheduler run as root: no other account can enter {closed}.",
                     "Install OctaPi where others can read it, such as /opt.")  # fmt: skip
        elif missing:
            numbers = ", ".join(str(accounts.NUMBERS[name]) for name in missing)
            self.add("note", "accounts", f"{' and '.join(missing)} do not exist; the numbers {numbers} stand for them.",
                     "sudo useradd --system --no-create-home --shell /usr/sbin/nologin NAME")  # fmt: skip
        else:
            self.add("ok", "accounts", "the scheduler runs as octapi, jobs as octapi-slot.")

    def add(self, result: str, what: str, text: str, advice: str = "") -> None:
        """Note one step."""
        self.steps.append(Step(result, what, text, advice))

    def run(self) -> list[Step]:
        """Look at everything, and return the steps."""
        self._accounts()
        self._network()
        token = self._token()
        members = [self._identity(name) for name in ("worker.json", "client.json")]
        self._master_here()
        found = self._multicast()
        for identity in filter(None, members):
            places = list(dict.fromkeys((*identity.addresses, *found.get(identity.cluster_id, ()))))
            for address in places:
                self._door(address, identity)
        if token is not None:
            for address in token.addresses:
                self._token_door(address, token)
        if token is None and not any(members) and not (self.home / "authority").exists():
            self.add("note", "cluster", "this device is in no cluster", "Give it a token: octapi worker TOKEN")
        self._ssh()
        return self.steps

    # ---- what is here

    def _network(self) -> None:
        addresses = discovery.own_addresses()
        if addresses:
            self.add("ok", "network", f"this device is reached at {', '.join(addresses)}")
        elif discovery.is_container():
            self.add(
                "note",
                "network",
                "this container is on a bridge, so its own addresses mean nothing to other devices",
                "They reach it at the address of its host, through published ports: OCTAPI_ADVERTISE says it.",
            )
        else:
            self.add(
                "fail", "network", "this device has no address that others could reach", "Is the cable in? Is Wi-Fi on?"
            )

    def _token(self) -> Token | None:
        if not self.token:
            return None
        try:
            found = parse(self.token)
        except TrustError as error:
            self.add("fail", "token", str(error))
            return None
        addresses = ", ".join(found.addresses) or "no address"
        self.add("ok", "token", f"token {found.ident} is complete; it names {addresses}. Its master says if it is good")
        return found

    def _identity(self, name: str) -> Identity | None:
        try:
            found = identities.load(self.home / name)
        except TrustError as error:
            self.add("fail", name, str(error))
            return None
        if found is None:
            return None
        left = (found.ends - time.time()) / 86400
        stands = f"valid for {left:.1f} days" if left > 0 else "expired by this device's clock; it renews itself"
        self.add("ok", name, f"{found.role} {found.name} of the cluster {found.cluster!r}, certificate {stands}")
        return found

    def _master_here(self) -> None:
        if not (self.home / "authority").exists():
            return
        if sockets():
            self.add("ok", "master", "this device is a master, and it runs")
            self._master_says()
        else:
            self.add("fail", "master", "this device is a master, but it does not run", "Start it: octapi master")

    def _master_says(self) -> None:
        """Tell what the master finds wrong with itself."""
        try:
            overview = asyncio.run(ask(any_way("", Settings.load()), CONNECT_S, hello(), Nodes()))
        except (OctapiError, TimeoutError) as error:
            self.add("note", "master", f"it does not say how it is: {error}")
            return
        for text in overview.get("trouble", ()):
            self.add("fail", "database", text, "Make room on the disk, or let it be written; it goes on by itself.")

    def _multicast(self) -> dict[str, tuple[str, ...]]:
        try:
            rows = asyncio.run(discovery.browse())
        except OSError as error:
            self.add("note", "multicast", f"cannot be used here: {joining.reason(error)}")
            return {}
        if not rows:
            self.add(
                "note",
                "multicast",
                "no master announces itself in this network",
                "Tokens hold addresses, so this is no fault by itself.",
            )
        for row in rows:
            self.add("ok", "multicast", f"a master of the cluster {row.cluster!r} announces {', '.join(row.addresses)}")
        return {row.cluster_id: row.addresses for row in rows}

    def _ssh(self) -> None:
        if (self.home / "worker.json").exists() and not ssh.sshd_program():
            self.add(
                "note",
                "ssh",
                "there is no sshd, so the master cannot log in here",
                "Install the package openssh-server.",
            )

    # ---- who answers

    def _port(self, what: str, host: str, port: int, context: ssl.SSLContext | None = None) -> bool:
        """Look whether a port answers; with ``context`` say who asks, as whoever says nothing there is a stranger."""
        try:
            with socket.create_connection((host, port), CONNECT_S) as plain:
                if context is not None:
                    context.wrap_socket(plain).close()
        except ConnectionRefusedError:
            self.add("fail", what, f"nothing listens at {host}:{port}, though the device is there", CLOSED)
            return False
        except OSError as error:
            self.add("fail", what, f"{host}:{port} does not answer ({joining.reason(error)})", FIREWALL)
            return False
        self.add("ok", what, f"{host}:{port} answers")
        return True

    def _door(self, address: str, identity: Identity) -> None:
        if not self._port("door", *split(address, joining.DEFAULT_PORT)):
            return
        try:
            greeting, answer = asyncio.run(joining.call(identity, address))
        except NotAMember as error:
            self.add("fail", "membership", str(error))
        except (ssl.SSLError, PeerRefused) as error:
            self.add(
                "fail",
                "door",
                f"{address} is not this cluster's master: {joining.reason(error)}",
                "Another cluster at this address, or an identity that was made anew.",
            )
        except (OSError, MasterNotFound, OctapiError, asyncio.IncompleteReadError) as error:
            self.add("fail", "door", f"{address}: {joining.reason(error)}")
        else:
            self.add(
                "ok",
                "membership",
                f"the master at {address} knows {identity.name}"
                + (", whose certificate is due for renewal" if answer["due"] else ""),
            )
            self._clock(greeting.behind_s)
            host = split(address, joining.DEFAULT_PORT)[0]
            self._port("clients' port", host, int(answer["master"]["clients"]))
            self._port("workers' port", host, int(answer["master"]["dask"]), Trust(identity).client)

    def _token_door(self, address: str, token: Token) -> None:
        if not self._port("door", *split(address, joining.DEFAULT_PORT)):
            return
        try:
            asyncio.run(joining.fetch_authority(address, token))
        except (OSError, OctapiError, asyncio.IncompleteReadError) as error:
            self.add("fail", "authority", joining.reason(error))
            return
        self.add("ok", "authority", f"{address} is the master that made this token")
        try:
            self._token_stands(asyncio.run(joining.about_token(address, token)), token)
        except (OSError, OctapiError, asyncio.IncompleteReadError, LookupError) as error:
            self.add("fail", "token", joining.reason(error))

    def _token_stands(self, row: dict[str, Any], token: Token) -> None:
        """Tell how a token stands, by its master."""
        if row["state"] != "valid":
            self.add("fail", "token", f"token {token.ident} is {row['state']}: it lets nobody in", NEW_TOKEN)
            return
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["ends"]))
        uses = "" if row["uses"] is None else f", for {row['uses']} more"
        command = "octapi worker" if row["role"] == "worker" else "octapi login"
        self.add("ok", "token", f"token {token.ident} lets a {row['role']} in ({command}) until {until}{uses}")

    def _clock(self, behind_s: float) -> None:
        if abs(behind_s) > joining.CLOCK_S:
            self.add(
                "note",
                "clock",
                f"this device's clock is {behind_s / 3600:+.1f} h off the master's; OctaPi uses the master's",
            )
        else:
            self.add("ok", "clock", f"within {abs(behind_s):.0f} s of the master's")
