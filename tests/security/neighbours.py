"""Attacks of other accounts of the master's own computer: people who may log in there, jobs and submitted scripts."""

import asyncio
import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from octapi.device import accounts
from octapi.protocol import wire
from tests.security.attack_cluster import Field, NotTried, Succeeded
from tests.security.table import attack, expected
from tests.security.well import all_is_well

#: an account that nobody has: a person without a name and without groups
PERSON = 61_900
#: an account of a submitted script that does not run, and the one of jobs
SCRIPT, JOB = accounts.RUN_UIDS[-2], accounts.NUMBERS[accounts.SLOT_ACCOUNT]


def as_account(uid: int, function: Callable[[], str]) -> str:
    """Return what a function says in a process of another account, or the error that it met.

    The process is forked, so the account needs no Python that it may enter.
    """
    if not accounts.is_root():
        raise NotTried("needs root, to be another account")
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "it ended early"
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            said = function()
        except BaseException as error:
            said = f"refused: {type(error).__name__}: {error}"
        finally:
            os.write(theirs, said.encode("utf-8", "replace")[:60_000])
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(pid, 0)
    return said


@contextlib.contextmanager
def reachable(path: Path) -> Any:
    """Let every account reach a socket, as where the master's home is open to all: by another name of it."""
    with tempfile.TemporaryDirectory(prefix="octapi-reach-", dir=path.parent.parent) as place:
        # the directory of all this is root's alone; what a path cannot be opened by, a descriptor is not asked for
        other = Path(place) / "s"
        os.link(path, other)
        Path(place).chmod(0o711)
        handle = os.open(place, os.O_PATH | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{handle}/s"
        finally:
            os.close(handle)


def ask_desk(place: str, **request: Any) -> str:
    """Ask the master's desk something, as whoever this process is."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(place)
        frame(sock)
        sock.sendall(wire.pack(request))
        answer = frame(sock)
    return f"answered {answer['ok']}" if "ok" in answer else f"refused: {answer['error']}: {answer['text']}"


def frame(sock: socket.socket) -> Any:
    """Read one frame."""
    with sock.makefile("rb") as file:
        (size,) = wire.LENGTH.unpack(file.read(wire.LENGTH.size))
        return wire.unpack(file.read(size))


@attack("stranger on the master's computer: makes a token at its desk", uid=PERSON, op="token-create")
@attack("stranger on the master's computer: makes a link to the page", uid=PERSON, op="page-link", kind="act")
@attack("stranger on the master's computer: removes a device", uid=PERSON, op="remove", name="red")
@attack("stranger on the master's computer: replaces the authority", uid=PERSON, op="rotate")
@attack("stranger on the master's computer: asks for the token of metrics", uid=PERSON, op="metrics-token")
@attack("stranger on the master's computer: logs in without being in the group", uid=PERSON, op="login", csr="")
@attack("job: makes a token at the desk of the master's computer", uid=JOB, op="token-create")
@attack("job: logs in at the desk of the master's computer", uid=JOB, op="login", csr="")
@attack("job: logs in at the desk as the account of a submitted script", uid=SCRIPT, op="login", csr="")
async def at_the_desk(field: Field, uid: int, **request: Any) -> str:
    """The kernel says who asks."""
    with reachable(field.place / "master" / "master.sock") as place:
        said = await asyncio.to_thread(as_account, uid, lambda: ask_desk(place, **request))
    expected("RoleRefused", said)
    await all_is_well(field)
    return said


def readable(places: list[str], since: float) -> str:
    """Return the files of these directories that this process may read, and that are younger than all this."""
    found = []
    for place in places:
        for directory, _, files in os.walk(place):
            for name in files:
                path = os.path.join(directory, name)
                with contextlib.suppress(OSError):
                    if os.stat(path).st_mtime > since and not os.path.islink(path):  # noqa: PTH114, PTH116
                        with open(path, "rb") as file:  # noqa: PTH123
                            file.read(1)
                        found.append(path)
    return f"it reads {found}" if found else "refused: it reads nothing"


@attack("stranger on the master's computer: reads keys, history and what jobs print", uid=PERSON)
@attack("job: reads the keys and the history of the master on its computer", uid=JOB)
async def reads_files(field: Field, uid: int) -> str:
    """Of everything that all these processes have written."""
    since = psutil.Process(field.master.process.pid).create_time() - 1
    places = [str(field.yard.place), str(field.yard.states), "/dev/shm"]
    said = await asyncio.to_thread(as_account, uid, lambda: readable(places, since))
    if "refused" not in said:
        raise Succeeded(said[:200])
    return said


@attack("stranger on the master's computer: opens every socket in the file system that OctaPi has")
async def opens_sockets(field: Field) -> str:
    """Dask's dashboard and the control of its processes among them; the desk answers who it is, and no more."""
    family = [process for run in field.yard.running for process in processes_of(run.process.pid)]
    inodes = {inode for process in family for inode in inodes_of(process.pid)}
    listening = listening_of(inodes)

    def connect() -> str:
        found = []
        for name in listening:
            with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
                sock.connect(b"\0" + name[1:].encode() if name.startswith("@") else name)
                found.append(name)
        return f"it opens {found}" if found else f"refused: none of {len(listening)}"

    if not listening:
        raise Succeeded("no socket was found, so nothing is shown")
    said = await asyncio.to_thread(as_account, PERSON, connect)
    if "refused" not in said:
        raise Succeeded(said)
    return said


def listening_of(inodes: set[str]) -> list[str]:
    """Return the names of those sockets of the file system that listen (unix(7), /proc/net/unix)."""
    rows = [line.split(None, 7) for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return [row[7] for row in rows if len(row) > 7 and row[6] in inodes and row[3] == "00010000"]


def processes_of(pid: int) -> list[psutil.Process]:
    """Return a process and those below it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    return []


def inodes_of(pid: int) -> set[str]:
    """Return the sockets of a process."""
    found = set()
    with contextlib.suppress(OSError):
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(handle.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


@attack("stranger on the master's computer: looks for secrets in lists of processes")
async def lists_processes(field: Field) -> str:
    """What every account sees of the others: their arguments, while they start too.

    Other tests may run beside this one; every token of this cluster begins with its authority's name.
    """
    ours = ".".join(field.token.split(".")[:2]).encode()
    pids = [process.pid for run in field.yard.running for process in processes_of(run.process.pid)]
    worker = asyncio.create_task(asyncio.to_thread(field.yard.start_worker, "lister", field.token))

    def look() -> str:
        found, until = set(), time.monotonic() + 3
        while time.monotonic() < until:
            for name in os.listdir("/proc"):  # noqa: PTH208
                for part in ("cmdline", "environ"):
                    with contextlib.suppress(OSError), open(f"/proc/{name}/{part}", "rb") as file:  # noqa: PTH123
                        if ours in file.read():
                            found.add(f"{name}/{part}")
        return f"it finds {sorted(found)}" if found else f"refused: nothing of {len(pids)} processes"

    said = await asyncio.to_thread(as_account, PERSON, look)
    running = await worker
    await asyncio.to_thread(running.stop)
    if "refused" not in said:
        raise Succeeded(said)
    return said
