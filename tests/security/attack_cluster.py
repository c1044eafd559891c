"""A real cluster to attack, identities an attacker may hold, and raw ways to talk to each port."""

import asyncio
import contextlib
import json
import re
import ssl
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from distributed.comm import connect as dask_connect
from distributed.protocol import dumps

from octapi.protocol import wire
from octapi.trust import certificates, contexts, token
from octapi.trust.authority import Authority, State, local_cluster, new_state
from octapi.trust.identity import Identity
from octapi.trust.names import MASTER, WORKER, Peer
from tests.harness import Running, Yard, ports_of

HOST = "127.0.0.1"
#: an attack that got no answer at all within this time was not answered, in seconds
SILENCE_S = 25.0


class Succeeded(Exception):
    """An attack did what it should not."""


class NotTried(Exception):
    """An attack cannot be tried here; its text says what it needs.  It counts neither as refused nor as succeeded."""


class Field:
    """One master, two workers, a script whose job runs all the time, and stolen identities."""

    def __init__(self, place: Path) -> None:
        self.yard = Yard(place)
        self.place = place
        #: a second master, of the attacks on what only that has
        self.house: Any = None
        #: the run of a script with secrets, once there is one
        self.run_with_secrets = ""
        try:
            self._open()
        except BaseException:
            self.yard.close()
            raise

    def _open(self) -> None:
        options = ("--name", "fort", "--page", "--page-port", "0", "--dask-dashboard")
        # the process of Dask's tasks is attacked for longer than the script runs
        self.master = self.yard.master(*options, env={"OCTAPI_DASK_IDLE_S": "3600"})
        self.ports = ports_of(self.master)
        found = re.search(r"page at port (\d+)", self.master.until_says("page at port"))
        assert found is not None
        self.page_port = int(found.group(1))
        self.act, self.look = self._link(), self._link("--view")
        self.token = self.yard.token()
        #: the token by which a device came that was removed
        self.old_token = self.yard.token()
        for name in ("red", "blue"):
            self.worker(name, self.token)
        self.worker("slim", self.token, "--no-dask")
        self.script = self.yard.script(
            "master",
            "import octapi, time\nwith octapi.Cluster() as c:\n"
            "    dask = c.dask\n"
            "    print('working', flush=True)\n"
            "    print('SUM', sum(c.map(lambda n: time.sleep(0.05) or n, range(1200))), flush=True)\n",
        )
        self.script.until_says("working", 120)
        self.identities = self._identities()
        self.addresses = {name: self._address_of(name, "octapi.cli.app") for name in ("red", "blue", "slim")}
        self.addresses["red's Dask"] = self._address_of("red", "octapi.worker.dask_worker")

    def worker(self, name: str, token: str, *arguments: str, home: str = "") -> Running:
        """Start a worker, and wait long for it: the computer may be busy."""
        found = self.yard.start_worker(name, token, *arguments, home=home)
        found.until_says(f"{name} works for", 120)
        return found

    def _link(self, *arguments: str) -> str:
        """Return the token of a link to the page."""
        return str(json.loads(self.yard.command("master", "page", "--json", *arguments))["token"])

    def _identities(self) -> dict[str, Identity]:
        """Steal and forge: the authority's own file makes what only a thief of it, or time, could make."""
        self.worker("gone", self.old_token).stop()
        self.worker("pip", self.token).stop()
        self.yard.command("bobs", "login", self.yard.token("--role", "client"), "--name", "bob")
        self.yard.command("mole", "login", self.yard.token("--role", "client"), "--name", "ann")
        self.worker("mole", self.token, home="mole2").stop()
        read = {
            "gone": "gone/worker.json",
            "mole": "mole2/worker.json",
            "ann": "mole/client.json",
            "red": "red/worker.json",
            "pip": "pip/worker.json",
            "bob": "bobs/client.json",
        }
        found = {name: Identity.from_json((self.place / path).read_text()) for name, path in read.items()}
        self.yard.command("master", "nodes", "remove", "gone")
        state = State.from_json((self.place / "master" / "authority" / "authority.json").read_text())
        now = time.time()
        inside = Authority(state, now=lambda: now)
        found["expired"] = self._dated(inside, now - 40 * 86400, now - 86400)
        found["early"] = self._dated(inside, now + 86400, now + 30 * 86400)
        found["master"] = inside.identity(MASTER, "master")
        found["foreign worker"] = local_cluster().identity(WORKER, "eve")
        twin = new_state("fort", now)
        twin.cluster_id = state.cluster_id
        found["twin worker"] = Authority(twin).identity(WORKER, "mole")
        return found

    def _dated(self, inside: Authority, begins: float, ends: float) -> Identity:
        made = inside.identity(WORKER, "mole")
        root = inside.state.roots[0]
        public = certificates.load_key(made.key).public_key()
        peer = Peer(inside.state.cluster_id, WORKER, "mole", made.ident)
        return replace(made, certificate=certificates.issue(root.key, root.certificate, peer, public, begins, ends))

    def _address_of(self, name: str, module: str) -> str:
        """Return where a worker's agent or its process of Dask's tasks listens, from its sockets."""
        running = next(run for run in self.yard.running if run.home.name == name)
        top = psutil.Process(running.process.pid)
        family = [process for process in (top, *top.children(recursive=True)) if module in process.cmdline()]
        inodes = set()
        for handle in (handle for process in family for handle in Path(f"/proc/{process.pid}/fd").iterdir()):
            with contextlib.suppress(OSError):
                inodes |= set(re.findall(r"socket:\[(\d+)\]", str(handle.readlink())))
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        rows += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
        port = next(int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and row[9] in inodes)
        host = json.loads(self.yard.command("master", "nodes", "--json"))
        return f"{next(row['address'] for row in host if row['name'] == name)}:{port}"

    def port(self, name: str) -> tuple[str, int]:
        """Return host and port of ``join``, ``clients``, ``dask``, or a worker by its name."""
        if name in self.ports:
            return HOST, self.ports[name]
        host, _, port = self.addresses[name].rpartition(":")
        return host, int(port)

    def close(self) -> None:
        """End everything."""
        self.yard.close()

    # ---- talking

    def context(self, who: str | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """Return an attacker's TLS context: it believes anybody, and shows ``who`` if given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        if who is not None:
            contexts.load(context, self.identities[who])
        return context

    @contextlib.asynccontextmanager
    async def stream(
        self, port: str, who: str | None = None, *, tls: bool = True, **options: Any
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection."""
        given = {"ssl": self.context(who, **options), "server_hostname": "x"} if tls else {}
        reader, writer = await asyncio.open_connection(*self.port(port), **given)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1)

    async def dask(self, port: str, who: str | None) -> Any:
        """Open a connection as Dask's own parts do, over plain TLS of Dask."""
        host, number = self.port(port)
        options = {"timeout": 8, "ssl_context": self.context(who), "require_encryption": True}
        try:
            return await dask_connect(f"tls://{host}:{number}", **options)
        except ValueError as error:  # Tornado's word for a connection that was closed before TLS began
            raise ConnectionError(str(error)) from error

    async def request(self, **fields: Any) -> dict[str, Any]:
        """Send one request to the door over a connection of its own, and return its answer."""
        who = fields.pop("who", None)
        async with self.stream("join", who) as (reader, writer):
            greeting = await wire.read_frame(reader)
            made = {key: value(greeting) if callable(value) else value for key, value in fields.items()}
            writer.write(wire.pack(made))
            answer: dict[str, Any] = await asyncio.wait_for(wire.read_frame(reader), SILENCE_S)
            return answer

    def joining(self, **other: Any) -> dict[str, Any]:
        """Return a good request to join, with ``other`` changes."""
        known = token.parse(other.pop("token", self.token))
        key = certificates.new_key()
        made: dict[str, Any] = {
            "op": "join", "token": known.ident, "secret": known.secret, "role": WORKER, "name": "eve", "ssh_key": "",
            "csr": lambda greeting: certificates.request(key, greeting["nonce"]),
        }  # fmt: skip
        return made | other


# ---- outcomes


async def must_hang_up(reader: asyncio.StreamReader, seconds: float = SILENCE_S) -> str:
    """Return once the other side has closed; anything it says is an answer it should not give."""
    try:
        said = await asyncio.wait_for(reader.read(1 << 16), seconds)
    except TimeoutError as error:
        raise Succeeded("it neither answers nor hangs up") from error
    except (ConnectionError, ssl.SSLError) as error:
        return f"cut: {tls_words(error)}"
    if said:
        raise Succeeded(f"it answered {said[:80]!r}")
    return "hung up"


async def must_be_refused(coroutine: Any) -> str:
    """Return why an attempt failed.  Raises :exc:`Succeeded` when it did not."""
    try:
        found = await asyncio.wait_for(coroutine, SILENCE_S)
    except TimeoutError as error:
        raise Succeeded("it neither answers nor hangs up") from error
    except (OSError, asyncio.IncompleteReadError, EOFError) as error:
        return f"cut: {tls_words(error)}"
    if isinstance(found, dict) and "error" in found and "ok" not in found:
        return f"refused: {found.get('text')}"
    if isinstance(found, (tuple, list)) and found and found[0] == "refused":
        return f"refused: {found[1]['text']}"
    raise Succeeded(f"it answered {str(found)[:120]}")


def tls_words(error: BaseException) -> str:
    """Return the few words of an error that matter."""
    text = str(getattr(error, "reason", None) or error or type(error).__name__)
    return text.replace("\n", " ")[:70]


def frames(message: Any) -> bytes:
    """Return a message as Dask puts it on the wire."""
    parts = dumps(message)
    lengths = [len(part) for part in parts]
    head = struct.pack(f"Q{len(parts)}Q", len(parts), *lengths)
    body = head + b"".join(bytes(part) for part in parts)
    return struct.pack("Q", len(body)) + body


def raw_frames(*parts: bytes) -> bytes:
    """Return bytes as Dask puts its parts on the wire, without asking Dask what they mean."""
    head = struct.pack(f"Q{len(parts)}Q", len(parts), *(len(part) for part in parts))
    return struct.pack("Q", len(head) + sum(map(len, parts))) + head + b"".join(parts)


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (exec, (f"import os; open({str(self.mark)!r}, 'a').write(str(os.getpid()) + chr(10))",))


async def byte_by_byte(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> str:
    """Say two bytes a second; raise :exc:`Succeeded` when somebody listens to all of them."""
    ends = asyncio.ensure_future(reader.read(-1))
    try:
        for byte in data:
            if ends.done():
                return "cut in time"
            with contextlib.suppress(ConnectionError):
                writer.write(bytes([byte]))
                await writer.drain()
            await asyncio.wait((ends,), timeout=0.5)
        raise Succeeded("it is listened to for half a minute")
    finally:
        ends.cancel()
