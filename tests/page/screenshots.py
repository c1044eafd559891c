"""A real master with its page and workers, and requests to it without a browser."""

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.harness import Running, Yard, until


class Sight:
    """A master with a page; ``token`` may act."""

    def __init__(self, yard: Yard, *arguments: str, ports: tuple[str, str, str] = ("0", "0", "0")) -> None:
        self.yard = yard
        self.master = yard.master("--page", "--page-port", "0", *arguments, ports=ports)
        self.port = page_port(self.master)
        self.token = self.new_token()

    def new_token(self, *arguments: str) -> str:
        """Make a link and return its token."""
        found = json.loads(self.yard.command("master", "page", "--json", *arguments))
        token: str = found["token"]
        return token

    def workers(self, count: int, slots: int = 1) -> list[Running]:
        """Let workers join."""
        token = self.yard.token()
        found = [
            self.yard.start_worker(f"pi-{number + 1}", token, "--slots", str(slots), "--host", "127.0.0.1")
            for number in range(count)
        ]
        for worker in found:
            worker.until_says("works for")
        return found

    def request(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """Ask, and return status, headers and what was answered."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is None:
            token = self.token
        if token:
            sent["authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        kind = answer.headers.get_content_type()
        found = json.loads(data) if kind == "application/json" else data.decode()
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, found

    def get(self, path: str) -> Any:
        """Return what /api/v1 answers."""
        status, _, found = self.request("GET", f"/api/v1{path}")
        assert status == 200, found
        return found

    def post(self, path: str, body: Any = None) -> Any:
        """Do something by /api/v1."""
        status, _, found = self.request("POST", f"/api/v1{path}", {} if body is None else body)
        assert status == 200, found
        return found

    def run_of(self, script: str = "") -> dict[str, Any]:
        """Wait for a run, and return its row."""
        found: dict[str, Any] = until(lambda: next(iter(self.get(f"/runs?search={script}")["runs"]), None))
        return found


def page_port(master: Running) -> int:
    """Return where a master's page listens."""
    found = re.search(r"page at port (\d+)", master.until_says("page at port"))
    assert found is not None
    return int(found.group(1))


@contextmanager
def stream(sight: Sight, path: str = "/api/v1/events", **headers: str) -> Iterator[Iterator[tuple[str, Any]]]:
    """Read the stream of state."""
    connection = http.client.HTTPConnection("127.0.0.1", sight.port, timeout=30)
    connection.request("GET", path, headers={"authorization": f"Bearer {sight.token}", **headers})
    answer = connection.getresponse()
    assert answer.status == 200

    def events() -> Iterator[tuple[str, Any]]:
        kind = ""
        while line := answer.readline():
            words = line.decode().rstrip("\n")
            if words.startswith("event: "):
                kind = words.removeprefix("event: ")
            elif words.startswith("data: "):
                yield kind, json.loads(words.removeprefix("data: "))

    try:
        yield events()
    finally:
        connection.close()
