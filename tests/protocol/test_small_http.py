"""As much of HTTP as wheels and metrics need."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octapi.protocol import small_http
from octapi.protocol.small_http import Answer, Reply, Request, parse

LONG = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 99


def test_a_request_is_read_whatever_the_case_of_its_headers() -> None:
    head = b"GET /metrics?x=1 HTTP/1.1\r\nHost: pi\r\nAuthORIZATION:  Bearer x \r\nauthorization: other\r\n\r\n"
    found = parse(head)
    assert found is not None
    assert (found.method, found.path, found.target) == ("GET", "/metrics", "/metrics?x=1")
    assert found.headers["authorization"] == "Bearer x"


@pytest.mark.parametrize("head", [b"", b"GET /\r\n\r\n", b"GET / HTTP/2\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n"])
def test_what_is_no_request_is_none(head: bytes) -> None:
    assert parse(head) is None
    assert parse(b"GET / HTTP/1.1\r\nx: " + b"y" * small_http.HEAD_LIMIT + b"\r\n\r\n") is None


@given(st.binary(max_size=200))
def test_no_bytes_of_a_stranger_raise(head: bytes) -> None:
    assert parse(head) is None or isinstance(parse(head), Request)


async def talk(answer: Answer | bytes, limit: int) -> Reply:
    """Answer one request over a real connection, and return what the client read."""
    asked: list[Request | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await small_http.read_request(reader))
        if isinstance(answer, Answer):
            await small_http.send(writer, answer)
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = await small_http.get(*await asyncio.open_connection("127.0.0.1", port), "/x", "pi", limit)
    assert [(one.path, one.headers["host"]) for one in asked if one is not None] == [("/x", "pi")]
    return found


def test_server_and_client_understand_each_other(tmp_path: Path) -> None:
    (tmp_path / "wheel").write_bytes(b"w" * 300_000)
    answers = (
        (Answer(b"hello"), 200, b"hello"),
        (Answer(b"no\n", status=404), 404, b"no\n"),
        (Answer(kind="x/y", file=tmp_path / "wheel", size=300_000), 200, b"w" * 300_000),
    )
    for answer, status, body in answers:
        found = asyncio.run(talk(answer, 1 << 20))
        assert (found.status, found.body) == (status, body)
        assert found.headers["content-length"] == str(len(body))
        assert found.headers["content-type"] == answer.kind
    assert "www-authenticate" in asyncio.run(talk(Answer(status=401), 10)).headers


@pytest.mark.parametrize("said", [b"hello\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", b"HTTP/1.1\r\n\r\n", LONG])
def test_an_answer_that_makes_no_sense_or_is_too_long_is_an_error(said: bytes) -> None:
    with pytest.raises(ValueError, match="it says"):
        asyncio.run(talk(said, 50))


def test_an_answer_that_breaks_off_is_an_error() -> None:
    with pytest.raises(EOFError):
        asyncio.run(talk(b"HTTP/1.1 200", 50))
