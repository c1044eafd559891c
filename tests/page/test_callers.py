"""Strangers who connect to the page and ask for nothing."""

import contextlib
import socket

from tests.harness import Yard
from tests.page.screenshots import Sight, stream

#: what strangers send and then fall silent: nothing, half a head, a head without its body, half of a second head
HALVES = (
    b"",
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n",
    b"POST /api/v1/join HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\n\r\n{",
    b"GET /login HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nGET",
)


def is_hung_up_on(stranger: socket.socket) -> bool:
    """Wait for the end of a connection."""
    try:
        while stranger.recv(1 << 16):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def connected(stack: contextlib.ExitStack, port: int, source: str = "127.0.0.1") -> socket.socket:
    """Connect from an address of this computer."""
    return stack.enter_context(socket.create_connection(("127.0.0.1", port), 40, (source, 0)))


def test_six_hundred_silent_connections_of_a_stranger_keep_nobody_else_out(yard: Yard) -> None:
    """An address has a hundred at most; the rest are closed at once, which the log says."""
    sight = Sight(yard)
    with contextlib.ExitStack() as stack:
        for _ in range(600):
            connected(stack, sight.port, "127.0.0.9")
        assert sight.get("/workers")["workers"] == []
        sight.master.until_says("page: refused 127.0.0.9: 1")


def test_who_does_not_complete_a_request_is_hung_up_on_and_who_listens_is_not(yard: Yard) -> None:
    """Whatever was sent of it; a stream of events stays open meanwhile."""
    sight = Sight(yard)
    with contextlib.ExitStack() as stack:
        events = stack.enter_context(stream(sight))
        strangers = [connected(stack, sight.port) for _ in HALVES]
        for stranger, half in zip(strangers, HALVES, strict=True):
            stranger.sendall(half)
        assert [is_hung_up_on(stranger) for stranger in strangers] == [True] * len(HALVES)
        sight.workers(1)
        assert any("pi-1" in str(event) for _, event in events)


def test_who_does_not_speak_tls_is_hung_up_on(yard: Yard) -> None:
    """Before the handshake too a stranger has ten seconds."""
    sight_port = Sight(yard, "--listen", "0.0.0.0", "--advertise", "127.0.0.1").port
    with contextlib.ExitStack() as stack:
        assert is_hung_up_on(connected(stack, sight_port))
