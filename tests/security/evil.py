"""What evil jobs do; the text of this file is the beginning of their script.  What they got is what they return."""

import contextlib
import ctypes
import os
import pathlib
import signal
import struct
import threading
import time
from collections.abc import Iterator

GOT_NOTHING = "got nothing"
LIBC = "libc.so.6"


def innocent(number: int) -> int:
    """Be one of the jobs that come after the evil one."""
    return number + 1


def above() -> list[int]:
    """Return the processes above this one that belong to the worker: slot, process that forks slots, agent."""
    found, pid = [], os.getppid()
    while pid > 1 and len(found) < 3:
        found.append(pid)
        pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def count_start(room: str) -> None:
    """Leave a file for each start."""
    (pathlib.Path(room) / f"start-{time.time_ns()}").touch()


def truncates_pages(room: str) -> str:
    """Try each file and each piece of memory of this process and its slot."""
    got = []
    for pid in ("self", *map(str, above())):
        for kind in ("fd", "map_files"):
            with contextlib.suppress(OSError):
                for path in pathlib.Path(f"/proc/{pid}/{kind}").iterdir():
                    with contextlib.suppress(OSError):
                        if "octapi-journal" in str(path.readlink()):
                            file = os.open(path, os.O_RDWR)
                            os.ftruncate(file, 0)
                            got.append(str(path))
    return f"it made {got} shorter" if got else GOT_NOTHING


def takes_descriptors(room: str) -> str:
    """Try pidfd_getfd(2), and to open them through /proc."""
    got = []
    for pid in above():
        handle = os.pidfd_open(pid)
        got += [f"{pid}:{fd}" for fd in range(64) if ctypes.CDLL(LIBC).syscall(438, handle, fd, 0) >= 0]
        with contextlib.suppress(OSError):
            got += [str(path) for path in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
    return f"it took {got}" if got else GOT_NOTHING


def reads_memory(room: str) -> str:
    """Open their memory and their environment."""
    got = []
    for pid in above():
        for name in ("mem", "environ", "maps"):
            with contextlib.suppress(OSError), pathlib.Path(f"/proc/{pid}/{name}").open("rb") as file:
                file.read(0 if name == "mem" else 1)
                got.append(f"{pid}/{name}")
    return f"it read {got}" if got else GOT_NOTHING


def traces(room: str) -> str:
    """Seize them by ptrace(2)."""
    got = [pid for pid in above() if ctypes.CDLL(LIBC).ptrace(0x4206, pid, 0, 0) == 0]
    return f"it traces {got}" if got else GOT_NOTHING


def signals_root(room: str) -> str:
    """Ask whether it may send a signal to what root runs above it."""
    try:
        os.kill(above()[2], 0)
    except PermissionError:
        return GOT_NOTHING
    return "it may signal the agent"


def reads_identity(room: str) -> str:
    """Read the files that belong to the worker, wherever its agent has them."""
    got = []
    for path in (f"/proc/{above()[2]}/cwd", f"/proc/{above()[2]}/root/root", "/root/.octapi/worker.json"):
        with contextlib.suppress(OSError):
            pathlib.Path(path).stat()
            got.append(path)
    return f"it sees {got}" if got else GOT_NOTHING


def leaves_processes(room: str) -> str:
    """Fork twice, with a new session between."""
    path = pathlib.Path(room) / "pid"
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            (pathlib.Path(room) / "part").write_text(str(os.getpid()))
            (pathlib.Path(room) / "part").rename(path)
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
            while True:
                signal.pause()
        os._exit(0)
    while not path.exists():
        time.sleep(0.01)
    return "it left a process"


def descriptors() -> Iterator[int]:
    """Return this process's descriptors that it did not need to open."""
    return (int(path.name) for path in pathlib.Path("/proc/self/fd").iterdir())


def say(data: bytes) -> None:
    """Write to each of its descriptors, as much as goes."""
    for number in list(descriptors()):
        with contextlib.suppress(OSError):
            os.set_blocking(number, False)
            os.write(number, data)
            os.set_blocking(number, True)


def writes_nonsense(room: str) -> str:
    """Write what is no frame of any kind."""
    for size in (1, 7, 9, 4000):
        say(b"\xff" * size)
    return "it wrote nonsense"


def says_exabyte(room: str) -> str:
    """Begin a frame that is too long for any memory."""
    say(struct.pack("<QB", 1 << 60, ord("O")) + b"x" * 1000)
    return "it began an exabyte"


def says_no_event(room: str) -> str:
    """Say events of unknown kinds, and outcomes of wrong types."""
    for kind in (b"V", b"I", b"O"):
        for body in (b"\xc1", b"\x91\xa3end", b"\x94\xff\xa1x\xcb\x7f\xf8\0\0\0\0\0\0\xc0", b"\x80"):
            say(struct.pack("<QB", len(body), kind[0]) + body)
    return "it said what is no event"


def says_outcomes(room: str) -> str:
    """Write records as a slot writes them to its agent: index, kind, length, times."""
    record = struct.pack("<IBxxxIdd", 1, 0, 0, float("nan"), float("inf"))
    say(struct.pack("<IBQ8x", len(record) + 16, 1, 1) + record)
    return "it said outcomes"


def closes_descriptors(room: str) -> str:
    """Close all, its way home included."""
    os.closerange(0, 4096)
    return "it closed all"


def uses_up_descriptors(room: str) -> str:
    """Open files until the limit is met, and keep them."""
    kept = []
    try:
        while len(kept) < 200_000:
            kept.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    raise OSError(f"it opened {len(kept)} files")


def kills_slot(room: str) -> None:
    """Kill the slot, and live on if that can be."""
    count_start(room)
    os.kill(above()[0], signal.SIGKILL)
    time.sleep(60)


def kills_forker(room: str) -> None:
    """Kill the process that forks slots, which has the same account."""
    count_start(room)
    os.kill(above()[1], signal.SIGKILL)
    time.sleep(60)


def leaves_traps(room: str) -> str:
    """Change what the next job uses, in this process and in those above, and leave a thread that waits for it."""
    import builtins
    import gc
    import json

    def spy(*given: object) -> None:
        (pathlib.Path(room) / f"stolen-{time.time_ns()}").write_text(repr(given))

    def wait() -> None:
        while True:
            spy("thread") if "SECRET" in os.environ else time.sleep(0.01)

    for module in (json, pathlib, builtins):
        module.trap = room  # type: ignore[attr-defined]
    json.dumps = spy  # type: ignore[assignment]
    os.environ["TRAP"] = room
    threading.Thread(target=wait, daemon=True).start()
    for found in gc.get_objects():
        if type(found).__name__ == "Slot":
            type(found).outcome = type(found).finished = spy
    return "it left traps"


def finds_traps(room: str) -> str:
    """Look for what another's job left."""
    import builtins
    import json

    os.environ["SECRET"] = "1"
    here = [module.__name__ for module in (json, pathlib, builtins) if hasattr(module, "trap")]
    here += [name for name in ("TRAP",) if name in os.environ]
    here += ["a thread"] if threading.active_count() > 1 else []
    return f"it found {here}" if here or json.dumps(1) != "1" else GOT_NOTHING


def lies_of_slots(pid: int, how: str) -> int:
    """Be a setup whose process names another one as the slot that it has forked, or endless text."""
    import gc

    forker = next(found for found in gc.get_objects() if type(found).__name__ == "PreparedForkServer")
    told = forker.report

    def report(what: int, number: int, real: int, *rest: object) -> None:
        if how == "endless" and what == 1:
            forker.sock.sendall(struct.pack("<BxxxIiiQ", 4, 0, 0, 0, 1 << 62))
        told(what, number, pid if what == 1 else real, *rest)

    forker.report = report
    return 0


def sleeps(how: str) -> str:
    """Run until the agent stops it."""
    time.sleep(60)
    return how


#: frames that a slot whose code its own setup has changed sends in place of its results
FALSE_FRAMES = {
    "hello": (b"V", b"\x94\x00\xa5hello\x80\x01"),  # an event of a kind that only the worker itself tells
    "index": (b"V", b"\x93\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xabprovisional\xc4\x00"),
    "mode": (b"V", b"\x96\x00\xa4file\xa1x\xc4\x00\xd1\xff\xff\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
    "text": (b"X", b"\x92\x01\x80"),
    "kind": (b"Z", b"x"),
}


def spoils_slots(how: str) -> int:
    """Be a setup that changes the code of its slots, which are forked from it."""
    from octapi.pool.recorder import Recorder

    def flush(self: Recorder, then: bytes = b"") -> None:
        self.send(*FALSE_FRAMES[how])
        time.sleep(1)

    Recorder.flush = flush  # type: ignore[method-assign]
    return 0


def answers(how: str) -> str:
    """Be a job of such a slot."""
    return how
