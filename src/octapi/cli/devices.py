"""``octapi master``, ``octapi worker`` and ``octapi nodes``."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from octapi.errors import InsecureRefused

WARNING = "octapi: --insecure: no encryption and no login. Anyone who reaches this port can run code here."
Insecure = Annotated[bool, typer.Option("--insecure", help="Allow connections without encryption (trusted networks).")]


def check_insecure(insecure: bool) -> None:
    """Refuse to open a connection without encryption unless that was asked for."""
    if not insecure:
        raise InsecureRefused(
            "This release has no encryption yet, so it starts only with --insecure. "
            "Use that on a network where you trust every device."
        )
    print(WARNING, file=sys.stderr, flush=True)


def master(
    listen: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port for clients; 0 takes a free one.")] = 8786,
    dask_port: Annotated[int, typer.Option(help="Port for workers and Dask clients; 0 takes a free one.")] = 8788,
    insecure: Insecure = False,
) -> None:
    """Run the master of a cluster."""
    check_insecure(insecure)
    import asyncio

    from octapi.master import server

    def ready(found: int, dask_found: int) -> None:
        print(f"octapi master: clients at {listen}:{found}, workers at {listen}:{dask_found}", flush=True)

    asyncio.run(server.serve(listen, port, dask_port, ready))


def worker(
    address: Annotated[str, typer.Argument(help="host:port where the master listens for workers.")],
    slots: Annotated[int, typer.Option(help="Jobs at once; 0 means one for each core.")] = 0,
    name: Annotated[str, typer.Option(help="Name of this worker; the host name by default.")] = "",
    host: Annotated[str, typer.Option(help="Address of this device for its peers.")] = "",
    insecure: Insecure = False,
) -> None:
    """Run a worker: this device's cores join the cluster."""
    check_insecure(insecure)
    import asyncio
    import socket

    from octapi.connect import cores
    from octapi.worker import node

    def ready(found: str) -> None:
        print(f"octapi worker: joined {address} from {found}", flush=True)

    target = f"tcp://{address.removeprefix('tcp://')}"
    asyncio.run(node.serve(target, name or socket.gethostname(), slots or cores(), host or None, ready))


def nodes(
    address: Annotated[str, typer.Option(help="host:port of the master.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the workers of the cluster."""
    from octapi.connect import connect

    engine = connect(address or None)
    try:
        rows = [worker._asdict() for worker in engine.workers()]
    finally:
        engine.close()
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['name']:<24} {row['address']:<16} {row['slots']:>3} slots  Python {row['python']}")
