"""The desk: a socket on the master's own computer, where the kernel says who asks.

The owner of the master (and root) manage tokens and members here; members of the group ``octapi`` become clients
without a token.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from typing import TYPE_CHECKING, Any, Final, Protocol

from octapi.device import accounts
from octapi.device.accounts import NUMBERS, RUN_UIDS, SCHEDULER_ACCOUNT, SLOT_ACCOUNT
from octapi.errors import MessageRefused, RoleRefused, TrustError
from octapi.protocol import wire
from octapi.protocol.checked import boolean, integer, listing, maybe, number, plain, record
from octapi.protocol.checked import text as text_of
from octapi.trust.enrolment_server import FRAME_LIMIT, text
from octapi.trust.names import WORKER, label

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from octapi.trust.authority import Authority

log = logging.getLogger("octapi.trust")

GROUP: Final = "octapi"
#: the life of an identity that needs no token, in seconds: whoever leaves the group is out a day later
LOCAL_LIFE_S: Final = 86400.0
ANSWER_S: Final = 10.0
TOKEN_LIFE_S: Final = 86400.0
#: what may be asked for, whoever asks; what is needed of it is up to the operation
REQUEST: Final = record(
    {"op": text_of(40)},
    {
        "csr": text_of(FRAME_LIMIT), "role": maybe(text_of(20)), "life_s": maybe(number(0, 1e10)),
        "uses": maybe(integer(1, 1 << 31)), "pattern": maybe(text_of(200)), "addresses": listing(text_of(300), 100),
        "ident": text_of(80), "name": text_of(80), "renew": maybe(boolean), "kind": text_of(20), "compromised": boolean,
    },
    rest=plain(4, 100),
)  # fmt: skip


class Links(Protocol):
    """The page's links, as the owner may read them."""

    def public(self) -> list[dict[str, Any]]:
        """Return them without secrets."""


class Page(Protocol):
    """What the owner may ask of the page's supervisor."""

    @property
    def links(self) -> Links:
        """Return the links."""

    def new_link(self, kind: str, life_s: float) -> dict[str, Any]:
        """Make a link."""

    def revoke(self, ident: str) -> dict[str, Any]:
        """End one, or ``all``."""


class ControlSocket:
    """Serves the owner and the group.  ``on_change(renew)`` is called after members or authorities changed."""

    def __init__(
        self,
        authority: Authority,
        addresses: Callable[[], list[str]],
        standing: Callable[[], dict[str, Any]],
        on_change: Callable[[bool], None],
        page: Page | None = None,
    ) -> None:
        self._handlers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "token-create": self.do_token_create, "token-list": self.do_token_list,
            "token-revoke": self.do_token_revoke, "metrics-token": self.do_metrics_token, "remove": self.do_remove,
            "page-link": self.do_page_link, "page-links": self.do_page_links, "page-revoke": self.do_page_revoke,
            "rotate": self.do_rotate,
        }  # fmt: skip
        self.authority = authority
        self.page = page
        self.addresses = addresses
        self.standing = standing
        self.on_change = on_change
        #: returns the token of metrics, another one if its argument is true
        self.metrics_token: Callable[[bool], str] = lambda _: ""
        self.server: asyncio.Server | None = None
        self.place: Path | None = None

    async def listen(self, place: Path) -> None:
        """Listen.  Raises :exc:`TrustError` when another master listens there."""
        self.server = await asyncio.start_unix_server(self._serve, sock=bound(place), limit=FRAME_LIMIT)
        self.place = place

    async def close(self) -> None:
        """Listen no more."""
        if self.server is not None:
            self.server.close()
        if self.place is not None:
            with contextlib.suppress(FileNotFoundError):
                self.place.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            nonce = secrets.token_bytes(16)
            writer.write(wire.pack({"nonce": nonce}))
            request = await asyncio.wait_for(wire.read_frame(reader, FRAME_LIMIT), ANSWER_S)
            try:
                answer: dict[str, Any] = {"ok": self._answer(REQUEST(request), caller(writer), nonce)}
            except (TrustError, MessageRefused) as error:
                answer = {"error": type(error).__name__, "text": str(error)}
            writer.write(wire.pack(answer))
            await writer.drain()
        except (asyncio.IncompleteReadError, OSError, ValueError, TypeError, LookupError, ArithmeticError) as error:
            log.warning(f"desk: a request failed: {type(error).__name__}: {error}")
        finally:
            writer.close()

    def _answer(self, request: dict[str, Any], uid: int, nonce: bytes) -> dict[str, Any]:
        operation = str(request.get("op"))
        if operation == "login":
            return self._login(request, uid, nonce)
        if operation == "where":  # no secret: a scan of this computer's ports says the same
            return self.standing()
        if uid not in (0, os.geteuid()):
            raise RoleRefused("Only the owner of the master and root may do that.")
        found = self._handlers.get(operation)
        if found is None:
            raise TrustError(f"The master does not know the request {operation[:40]!r}.")
        answer: dict[str, Any] = found(request)
        return answer

    def _login(self, request: dict[str, Any], uid: int, nonce: bytes) -> dict[str, Any]:
        is_owner = uid in (0, os.geteuid())
        if not is_owner and is_account(uid):
            raise RoleRefused("This account is for jobs or the scheduler, which must not act as a person.")
        if not is_owner and not is_in_group(uid):
            raise RoleRefused(
                f"You are not in the group {GROUP!r} of this computer. Its owner can add you: "
                f"sudo usermod -aG {GROUP} {name_of(uid)}"
            )
        name = label(f"{name_of(uid)}-{socket.gethostname().partition('.')[0]}")
        answer = self.authority.admit_local(uid, name, text(request, "csr"), nonce, LOCAL_LIFE_S, is_owner=is_owner)
        self.on_change(False)
        return answer | self.standing()

    # ---- what the owner may ask

    def do_token_create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make a token."""
        asked = [str(address) for address in request.get("addresses") or ()]
        found = self.authority.new_token(
            str(request.get("role") or WORKER),
            list(dict.fromkeys([*asked, *self.addresses()])),
            float(request.get("life_s") or TOKEN_LIFE_S),
            request.get("uses"),
            str(request.get("pattern") or "*"),
        )
        log.info(f"token {found.ident} was made.")
        return {"token": found.text(), "ident": found.ident}

    def do_token_list(self, _: dict[str, Any]) -> dict[str, Any]:
        """Return all tokens, without their secrets."""
        now = self.authority.now()
        return {"tokens": [row.public(now) for row in self.authority.ledger.tokens.values()]}

    def do_token_revoke(self, request: dict[str, Any]) -> dict[str, Any]:
        """Revoke a token."""
        self.authority.ledger.revoke(str(request.get("ident")))
        self.authority.save()
        log.info(f"token {request.get('ident')} was revoked.")
        return {}

    def do_metrics_token(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the token of metrics, another one if ``renew``, and the authorities that its bearer has to trust."""
        token = self.metrics_token(bool(request.get("renew")))
        return {"token": token, "authorities": self.authority.authorities()}

    def do_remove(self, request: dict[str, Any]) -> dict[str, Any]:
        """Remove a member, at once and for good."""
        before = self._valid_tokens()
        found = self.authority.remove(str(request.get("name")))
        revoked = [ident for ident in before if ident not in self._valid_tokens()]
        ended = f" Revoked with it: token {', '.join(revoked)}." if revoked else ""
        log.info(f"{', '.join(f'{member.role} {member.name}' for member in found)} removed.{ended}")
        self.on_change(False)
        return {
            "removed": list(dict.fromkeys(member.role for member in found)), "revoked_tokens": revoked,
            "valid_tokens": self._valid_tokens(),
        }  # fmt: skip

    def _valid_tokens(self) -> list[str]:
        now = self.authority.now()
        return [row.ident for row in self.authority.ledger.tokens.values() if row.state(now) == "valid"]

    def do_page_link(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make a link to the page."""
        found = self._page().new_link(str(request.get("kind")), float(request.get("life_s") or TOKEN_LIFE_S))
        log.info(f"a link to the page was made, to {found['kind']}.")
        return found

    def do_page_links(self, _: dict[str, Any]) -> dict[str, Any]:
        """Return the links to the page, without their secrets."""
        return {"links": self._page().links.public()}

    def do_page_revoke(self, request: dict[str, Any]) -> dict[str, Any]:
        """End links to the page."""
        found = self._page().revoke(str(request.get("ident")))
        log.info(f"links to the page were revoked: {', '.join(found['revoked']) or 'there were none'}.")
        return found

    def _page(self) -> Page:
        if self.page is None:
            raise TrustError("This master has no page.")
        return self.page

    def do_rotate(self, request: dict[str, Any]) -> dict[str, Any]:
        """Sign with a new key from now on."""
        is_compromised = bool(request.get("compromised"))
        root = self.authority.rotate(is_compromised=is_compromised)
        log.info(f"the authority was replaced; the new one is {root.ident}.")
        self.on_change(True)
        return {"root": root.ident, "compromised": is_compromised}


def bound(place: Path) -> socket.socket:
    """Return a socket that listens at ``place``.  Raises :exc:`TrustError` when another master does."""
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    if place.exists():
        try:
            sock.connect(str(place))
        except OSError:
            place.unlink()
        else:
            sock.close()
            raise TrustError(f"A master runs on this device already (it listens at {place}).")
    old = os.umask(0o177)
    try:
        sock.bind(str(place))
    finally:
        os.umask(old)
    place.chmod(0o666 if os.geteuid() == 0 else 0o600)  # the kernel says who asks; the answer decides
    return sock


def caller(writer: asyncio.StreamWriter) -> int:
    """Return the user id of whoever is at the other end, as the kernel knows it."""
    uid = accounts.peer_uid(writer.get_extra_info("socket"))
    return os.geteuid() if uid is None else uid  # where the kernel does not know, the socket's mode lets nobody else in


def name_of(uid: int) -> str:
    """Return a user's name."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def is_account(uid: int) -> bool:
    """Say whether a user is one of the accounts under which jobs, submitted scripts and the scheduler run."""
    import pwd

    if uid in RUN_UIDS or uid in NUMBERS.values():
        return True
    try:
        return pwd.getpwuid(uid).pw_name in (SCHEDULER_ACCOUNT, SLOT_ACCOUNT)
    except KeyError:
        return False


def is_in_group(uid: int) -> bool:
    """Say whether a user is in the group of this computer that may use the cluster."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(uid), grp.getgrnam(GROUP)
    except KeyError:
        return False
    return group.gr_gid in os.getgrouplist(user.pw_name, user.pw_gid)
