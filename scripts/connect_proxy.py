"""A proxy that passes HTTPS on (the method CONNECT) and nothing else: for scripts/fresh-machines."""

import asyncio
import sys

#: how long a client may take to say where it wants to go, in seconds
PATIENCE_S = 10.0


async def pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass bytes on until the end of them."""
    try:
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    except OSError:
        pass  # one side hung up; the other is told by the end of this
    finally:
        target.close()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one client."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            method, place, *_ = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split()
            if method != "CONNECT":
                raise ValueError(method)
            host, _, port = place.rpartition(":")
            there, away = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        print(f"refused: {error!r}", file=sys.stderr, flush=True)
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n")
        writer.close()
        return
    print(place, file=sys.stderr, flush=True)
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await asyncio.gather(pour(reader, away), pour(there, writer))


async def main(host: str, port: int) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(serve, host, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
