"""On the master itself the page opens without the browser's warning: by HTTP, on loopback and nowhere else."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import pytest

from octapi.page.login import COOKIE, PLAIN_COOKIE
from tests.harness import Yard, until

NO_CONTAINER = {"OCTAPI_BRIDGED": "0"}


@dataclass
class Doors:
    """A page that speaks HTTPS to the network, and its socket on loopback."""

    yard: Yard
    here: SplitResult
    there: SplitResult
    token: str

    def ask(self, path: str, host: str, is_https: bool = False, **headers: str) -> http.client.HTTPResponse:
        """Ask one of the two."""
        if is_https:
            context = ssl._create_unverified_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", self.there.port, context=context, timeout=30
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.here.port, timeout=30)
        connection.request("GET", path, headers={"host": host, **headers})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer

    def cookie(self) -> str:
        """Log in on loopback."""
        return str(self.ask(f"/login?token={self.token}", "localhost").headers["set-cookie"]).partition(";")[0]


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    yard = Yard(tmp_path_factory.mktemp("here"))
    yard.master("--listen", "0.0.0.0", "--advertise", "127.0.0.1", "--page", "--page-port", "0", env=NO_CONTAINER)
    found = json.loads(yard.command("master", "page", "--json"))
    yield Doors(yard, urlsplit(found["here"]), urlsplit(found["link"]), found["token"])
    yard.close()


def test_octapi_page_prints_a_link_for_browsers_on_the_master_itself(doors: Doors) -> None:
    """It is beside the one for other computers; who only looks has one too."""
    assert (doors.here.scheme, doors.here.hostname, doors.there.scheme) == ("http", "127.0.0.1", "https")
    said = doors.yard.command("master", "page", "--show", "--view").splitlines()
    assert said[-2] == "In a browser on this computer, without a warning:"
    assert said[-1].startswith(f"http://127.0.0.1:{doors.here.port}/login?token=")
    assert said[-1].partition("token=")[2] == said[0].partition("token=")[2]


def test_other_computers_do_not_reach_it(doors: Doors) -> None:
    """It listens on 127.0.0.1, not on the other addresses of this computer."""
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", doors.here.port), 5):
        pass


@pytest.mark.parametrize(
    "host", ["evil.example", "192.168.1.4", "127.0.0.2", "0.0.0.0", "", "[::1", "localhost.evil.example", "pi.local"]
)
def test_no_name_but_loopbacks_is_answered(doors: Doors, host: str) -> None:
    """Another site whose name leads to this computer gets nothing, also with a right token."""
    assert doors.ask(f"/login?token={doors.token}", host).status == 421
    assert doors.ask("/", host, cookie=doors.cookie()).status == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:8784", "[::1]:8784"])
def test_loopbacks_names_are_answered(doors: Doors, host: str) -> None:
    """Under whatever port: a tunnel may have another."""
    answer = doors.ask(f"/login?token={doors.token}", host)
    assert answer.status == 303
    parts = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=strict"} <= parts


def test_its_login_is_good_for_loopback_alone_and_ends_with_its_link(doors: Doors) -> None:
    """Browsers show a cookie of HTTP to every server of the same host: it opens nothing in the network."""
    cookie = doors.cookie()
    renamed = cookie.replace(PLAIN_COOKIE, COOKIE)
    assert doors.ask("/api/v1/me", "localhost").status == 401
    assert doors.ask("/api/v1/me", "localhost", cookie=cookie).status == 200
    assert doors.ask("/api/v1/me", "127.0.0.1", is_https=True, cookie=cookie).status == 401
    assert doors.ask("/api/v1/me", "127.0.0.1", is_https=True, cookie=renamed).status == 401
    assert doors.ask("/api/v1/me", "localhost", cookie=renamed).status == 401
    doors.yard.command("master", "page", "--revoke", "all")
    until(lambda: doors.ask("/api/v1/me", "localhost", cookie=cookie).status == 401)


def test_there_is_none_in_a_container_behind_a_proxy_and_where_all_is_loopback(tmp_path: Path) -> None:
    """A container's loopback has no browser; on loopback the page speaks HTTP anyway, and a proxy brings HTTPS."""
    for options, variables in (
        (("--listen", "0.0.0.0", "--advertise", "127.0.0.1"), {"OCTAPI_BRIDGED": "1"}),
        (("--listen", "0.0.0.0", "--advertise", "127.0.0.1", "--page-proxy"), NO_CONTAINER),
        ((), NO_CONTAINER),
    ):
        yard = Yard(tmp_path)
        try:
            yard.master("--page", "--page-port", "0", *options, env=variables)
            assert json.loads(yard.command("master", "page", "--json"))["here"] == ""
        finally:
            yard.close()
