"""The device's side of the door: join with a token, renew, and ask how things stand.

The authority is checked against the token before the secret is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from octapi import errors
from octapi.errors import MasterNotFound, PeerRefused, TrustError
from octapi.protocol import wire
from octapi.text.addresses import split
from octapi.text.reasons import in_words
from octapi.trust import enrolment_server, names
from octapi.trust.contexts import client_context, load
from octapi.trust.names import AUTHORITY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from octapi.trust.identity import Identity
    from octapi.trust.token import Token

DEFAULT_PORT: Final = 8785
#: how long one attempt may take, in seconds
ATTEMPT_S: Final = 5.0
#: a clock that differs by more is spoken of, in seconds
CLOCK_S: Final = 3600.0


class Greeting:
    """What the door says first: its answer, and how far this device's clock is behind the master's, in seconds."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.time = float(answer["time"])
        self.nonce: bytes = answer["nonce"]
        self.cluster: str = answer["cluster"]
        self.cluster_id: str = answer["cluster_id"]
        self.authority: str = answer["authority"]
        self.protocol: int = answer["protocol"]
        self.behind_s = self.time - time.time()


@contextlib.asynccontextmanager
async def conversation(
    address: str, context: ssl.SSLContext, asked: str
) -> AsyncIterator[tuple[Greeting, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection to a door, asking for the authority ``asked``, and read its greeting."""
    host, port = split(address, DEFAULT_PORT)
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(
            host, port, ssl=context, server_hostname=f"{asked}.octapi", limit=enrolment_server.FRAME_LIMIT
        ),
        ATTEMPT_S,
    )
    try:
        answer = await asyncio.wait_for(wire.read_frame(reader, enrolment_server.FRAME_LIMIT), ATTEMPT_S)
        try:
            greeting = Greeting(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise PeerRefused(f"Something answers at {address}, but not as an OctaPi master does.") from error
        if greeting.protocol != enrolment_server.PROTOCOL:
            raise errors.VersionMismatch(
                f"The master at {address} joins devices by protocol {greeting.protocol}, this release by "
                f"{enrolment_server.PROTOCOL}. Install the same release of OctaPi on both."
            )
        yield greeting, reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 1)


async def fetch_authority(address: str, token: Token) -> str:
    """Ask for the authority that a token pins, and return its certificate.

    Nothing is sent before it has been compared with the token.  Raises :exc:`PeerRefused` when it is another.
    """
    from octapi.trust import certificates

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the pin takes the place of a chain; the next connection checks the chain
    async with conversation(address, context, token.pin.hex()[:16]) as (greeting, _, _):
        authority = certificates.pinned(greeting.authority, token.pin)
        if not authority:
            raise PeerRefused(
                f"Whoever answers at {address} is not the master that made this token: its authority is another. "
                "Nothing was sent to it. Is the token of another cluster, or does somebody stand between?"
            )
        return authority


async def about_token(address: str, token: Token) -> dict[str, Any]:
    """Ask the door that made a token how it stands, without using it: ``state``, ``role``, ``ends`` and ``uses``.

    Raises :exc:`PeerRefused` when another master answers, and :exc:`TrustError` when it does not know the token.
    """
    authority = await fetch_authority(address, token)
    request = {"op": "token", "token": token.ident, "secret": token.secret}
    _, answer = await ask(address, [authority], token.pin.hex()[:16], lambda _: request)
    return answer


async def ask(
    address: str, authorities: Sequence[str], asked: str, request: Any, identity: Identity | None = None
) -> tuple[Greeting, dict[str, Any]]:
    """Send one request to a door whose authority is known.

    ``request`` makes the request from the greeting; ``identity`` is shown if given.  Raises :exc:`TrustError`.
    """
    context = client_context()
    context.load_verify_locations(cadata="\n".join(authorities))
    if identity is not None:
        load(context, identity)
    async with conversation(address, context, asked) as (greeting, reader, writer):
        certificate = writer.get_extra_info("peercert")
        peer = names.peer_of(certificate)
        names.check_role(peer, identity.cluster_id if identity is not None else greeting.cluster_id, (AUTHORITY,))
        names.check_dates(certificate, max(greeting.time, identity.begins if identity is not None else 0.0))
        writer.write(wire.pack(request(greeting)))
        answer = await asyncio.wait_for(wire.read_frame(reader, enrolment_server.FRAME_LIMIT), ATTEMPT_S)
    if "ok" in answer:
        return greeting, answer["ok"]
    raise errors.by_name(answer.get("error"), TrustError)(str(answer.get("text")))


async def join(
    token: Token,
    addresses: Sequence[str],
    role: str,
    name: str,
    old: Identity | None = None,
    ssh_key: str = "",
    guesses: Sequence[str] = (),
) -> tuple[Identity, Greeting]:
    """Join a cluster at the first of ``addresses`` that answers, and return the new identity.

    ``old`` is shown if this device has one, so that it replaces itself.  ``guesses`` are tried last, and no word is
    said of those that fail.
    Raises :exc:`MasterNotFound` when nobody answers, and :exc:`TrustError` when the master must not or will not.
    """
    from octapi.trust import certificates
    from octapi.trust.identity import Identity

    key = certificates.new_key()
    tried: list[str] = []
    stranger: PeerRefused | None = None
    for address in dict.fromkeys((*addresses, *guesses)):
        is_guess = address not in addresses
        try:
            authority = await fetch_authority(address, token)

            def request(greeting: Greeting) -> dict[str, Any]:
                return {
                    "op": "join",
                    "token": token.ident,
                    "secret": token.secret,
                    "role": role,
                    "name": name,
                    "csr": certificates.request(key, greeting.nonce),
                    "ssh_key": ssh_key,
                }

            shown = old if old is not None and authority in old.authorities else None
            greeting, answer = await ask(address, [authority], token.pin.hex()[:16], request, shown)
        except (OSError, asyncio.IncompleteReadError) as error:
            tried += [] if is_guess else [f"{address} ({reason(error)})"]
            continue
        except PeerRefused as error:
            stranger = stranger if is_guess else error
            continue
        empty = Identity("", "", role, name, "", key, "", (), 0.0, 0.0, 0.0)
        return empty.with_answer(answer), greeting
    if stranger is not None:
        raise stranger
    raise not_found(token, tried)


def not_found(token: Token, tried: Sequence[str]) -> MasterNotFound:
    """Return the error of a device that found nobody at the addresses in ``tried``."""
    if all(split(address, DEFAULT_PORT)[0].startswith("127.") for address in token.addresses):
        return MasterNotFound(
            "This token was made by a master that does not know under which address other computers reach it; no "
            "master answers on this computer, and none announces itself in this network. Start the master with "
            "--advertise ADDRESS (in a container: OCTAPI_ADVERTISE, with published ports), and make a new token there."
        )
    return MasterNotFound(
        f"No master answers at {', '.join(tried)}. Is it running, is this device in its network, "
        "and does a firewall let the port through? 'octapi doctor' looks step by step."
    )


async def call(identity: Identity, address: str) -> tuple[Greeting, dict[str, Any]]:
    """Ask the door how things stand.  Raises :exc:`NotAMember` for a member that was removed, OSError, TrustError."""
    return await ask(address, identity.authorities, identity.root, lambda _: {"op": "call"}, identity)


async def leave(identity: Identity, address: str) -> None:
    """Ask the door to take this member off its list.  Raises as :func:`call` does."""
    await ask(address, identity.authorities, identity.root, lambda _: {"op": "leave"}, identity)


async def renew(identity: Identity, address: str, ssh_key: str = "") -> Identity:
    """Get a new certificate for a new key, proving the old one.  Raises as :func:`call` does."""
    from octapi.trust import certificates

    key = certificates.new_key()

    def request(greeting: Greeting) -> dict[str, Any]:
        return {"op": "renew", "csr": certificates.request(key, greeting.nonce), "ssh_key": ssh_key}

    _, answer = await ask(address, identity.authorities, identity.root, request, identity)
    return replace(identity, key=key).with_answer(answer)


def reason(error: BaseException) -> str:
    """Say in a few words why a connection failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is of another authority"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS as OctaPi does; was it started with --insecure?"
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, asyncio.IncompleteReadError):
        return "it hung up"
    return in_words(error)
