"""Attacks on the socket that a page with HTTPS has on loopback, where it speaks HTTP to this computer's browsers."""

import asyncio
import http.client
import json
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

import psutil

from octapi.page.login import COOKIE, PLAIN_COOKIE
from tests.security.attack_cluster import HOST, Field, Succeeded
from tests.security.table import attack

#: what a page of another site, or of another server on this computer, can have a browser send
FOREIGN = (
    {"origin": "http://evil.example"},
    {"origin": "http://127.0.0.1:8000"},
    {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site", "content-type": "text/plain"},
)


class House:
    """A second master, whose page speaks HTTPS to the network, and somebody who is logged in on loopback."""

    def __init__(self, field: Field) -> None:
        arguments = ("--listen", "0.0.0.0", "--advertise", HOST, "--page", "--page-port", "0")
        self.master = field.yard.master(*arguments, home="house", env={"OCTAPI_BRIDGED": "0"})
        found = json.loads(field.yard.command("house", "page", "--json"))
        self.here, self.there = (urlsplit(found[key]).port or 0 for key in ("here", "link"))
        self.token = found["token"]
        answer, _ = self.ask("GET", f"/login?token={self.token}")
        self.cookie = str(answer.headers["set-cookie"]).partition(";")[0]

    def ask(self, method: str, path: str, *, is_https: bool = False, **headers: str) -> tuple[Any, bytes]:
        """Ask one of its sockets, by the name of loopback unless another host is given."""
        if is_https:
            context = ssl._create_unverified_context()
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                HOST, self.there, context=context, timeout=20
            )
        else:
            made = http.client.HTTPConnection(HOST, self.here, timeout=20)
        try:
            made.request(method, path, b"{}" if method == "POST" else None, {"host": HOST} | headers)
            answer = made.getresponse()
            return answer, answer.read()
        finally:
            made.close()


async def house_of(field: Field) -> House:
    """Return the second master, which is started for the first attack on it."""
    if field.house is None:
        field.house = await asyncio.to_thread(House, field)
    return field.house


def must_be(answer: Any, *statuses: int) -> str:
    if answer.status not in statuses:
        raise Succeeded(f"it answered {answer.status}")
    return f"refused: {answer.status}"


@attack("visitor: another site whose name leads to loopback (DNS rebinding)", host="evil.example")
@attack("visitor: another site whose name begins like loopback", host="127.0.0.1.evil.example")
@attack("visitor: loopback's socket by an address of the network", host="192.168.1.4")
@attack("visitor: loopback's socket by no name at all", host="")
async def rebinds(field: Field, host: str) -> str:
    """Also with the right cookie, which a browser would not send there, and with a right token."""
    house = await house_of(field)
    outcome = ""
    for path in ("/", "/api/v1/state", f"/login?token={house.token}"):
        answer, body = await asyncio.to_thread(house.ask, "GET", path, host=host, cookie=house.cookie)
        outcome = must_be(answer, 421)
        if b"login" in body or "set-cookie" in answer.headers:
            raise Succeeded(f"{path}: {body[:60]!r}")
    return outcome


@attack("visitor: another site posts to loopback's socket", path="/api/v1/join")
@attack("visitor: another site has loopback's socket remove a device", path="/api/v1/workers/red/remove")
@attack("visitor: another site logs somebody out on loopback's socket", path="/logout")
async def posts_from_elsewhere(field: Field, path: str) -> str:
    """Each with the cookie, as if the browser sent it, without our header and with it."""
    house = await house_of(field)
    for headers in FOREIGN:
        for more in ({}, {"x-octapi": "1"}):
            answer, _ = await asyncio.to_thread(house.ask, "POST", path, cookie=house.cookie, **headers, **more)
            must_be(answer, 403)
    answer, _ = await asyncio.to_thread(house.ask, "POST", path, cookie=house.cookie)
    return must_be(answer, 403)


@attack("stranger: loopback's socket from another address of this computer")
async def from_elsewhere(field: Field) -> str:
    house = await house_of(field)
    own = [entry.address for rows in psutil.net_if_addrs().values() for entry in rows if entry.family == socket.AF_INET]
    others = [address for address in own if not address.startswith("127.")] + ["127.0.0.2"]
    for address in others:
        try:
            socket.create_connection((address, house.here), 5).close()
        except OSError:
            continue
        raise Succeeded(f"it listens at {address}")
    return f"nobody listens at {len(others)} other addresses"


@attack("visitor: a login of loopback in the network, said to have come by HTTP")
async def cookie_goes_out(field: Field) -> str:
    """What a proxy would say is believed of proxies alone, and the cookie under neither name."""
    house = await house_of(field)
    outcome = ""
    for cookie in (house.cookie, house.cookie.replace(PLAIN_COOKIE, COOKIE)):
        for headers in ({}, {"x-forwarded-proto": "http"}, {"x-forwarded-proto": "http", "x-forwarded-for": HOST}):
            answer, _ = await asyncio.to_thread(house.ask, "GET", "/api/v1/me", is_https=True, cookie=cookie, **headers)
            outcome = must_be(answer, 401)
    return outcome


@attack("stranger: two names of hosts in one request to loopback's socket")
async def two_hosts(field: Field) -> str:
    house = await house_of(field)

    def talk() -> bytes:
        with socket.create_connection((HOST, house.here), 10) as sock:
            head = f"GET /api/v1/me HTTP/1.1\r\nHost: {HOST}\r\nHost: evil.example\r\nCookie: {house.cookie}\r\n\r\n"
            sock.sendall(head.encode())
            return sock.recv(65536)

    first = (await asyncio.to_thread(talk)).split(b"\r\n")[0].decode("latin-1")
    if " 4" not in first:
        raise Succeeded(f"it answered {first}")
    return first
