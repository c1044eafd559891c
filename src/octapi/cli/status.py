"""``octapi`` alone: how this computer stands, and what to do next."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octapi.client.connect import any_way, by_way
from octapi.client.endpoint import ask
from octapi.client.remote import hello
from octapi.device.limits import cores
from octapi.errors import OctapiError
from octapi.protocol.client_messages import Nodes
from octapi.settings import Settings, default_home
from octapi.text.escape import many, visible
from octapi.text.reasons import in_words
from octapi.trust import identity, joining

if TYPE_CHECKING:
    from collections.abc import Iterator

    from octapi.trust.identity import Identity

#: how long the master may take to answer, in seconds
PATIENCE_S = 1.5
FIRST = "octapi demo                  try it here: a master, two workers and a script on this computer"

START = "octapi master                start the master"
LOGIN = "scripts of this login need a login of their own (octapi login)"
LOOK = "octapi doctor                look step by step why"


def show() -> None:
    """Print what this computer is, whether its master answers, and the commands that make sense next."""
    home, settings = default_home(), Settings.load()
    members = list(identities(home))
    is_master = (home / "authority").exists()
    for text in (*roles(home, is_master, members), *named(settings.address)):
        print(text)
    known = is_master or bool(members) or settings.address not in ("", "local")
    if not known:
        alone()
        return
    try:
        if members and not settings.address and not is_master and all(member.role == "worker" for member in members):
            worker(members[0])
            return
        overview, place = ask_workers(settings)
    except (OctapiError, OSError, EOFError) as error:
        print(f"The master does not answer: {visible(in_words(error))}")
        tell("Next", [START if is_master else LOOK])
        return
    cluster(overview, place, is_master)


def identities(home: Path) -> Iterator[Identity]:
    """Return what this computer is in clusters; a damaged identity is the doctor's affair."""
    for name in ("worker.json", "client.json"):
        try:
            found = identity.load(home / name)
        except OctapiError as error:
            print(f"{visible(str(error))}")
            continue
        if found is not None:
            yield found


def roles(home: Path, is_master: bool, members: list[Identity]) -> Iterator[str]:
    """Say what this computer is."""
    if is_master:
        yield "This computer is a master."
    for member in members:
        if member.role == "worker":
            state = "is at work" if is_locked(home) else "does not run now; 'octapi worker' starts it"
            who = f"the worker {visible(member.name)} of the cluster {visible(member.cluster)}"
            yield f"This computer is {who}; it {state}."
        else:
            yield f"Scripts of this login use the cluster {visible(member.cluster)} as {visible(member.name)}."


def named(address: str) -> Iterator[str]:
    """Say which address is set."""
    if address:
        yield f"OCTAPI_ADDRESS or settings.toml names {visible(address)}."


def is_locked(home: Path) -> bool:
    """Say whether a worker runs with this computer's identity."""
    import fcntl

    from octapi.worker.service import LOCK

    try:
        with (home / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def ask_workers(settings: Any) -> tuple[dict[str, Any], str]:
    """Ask the master for its workers; do not look for one that has moved, which takes longer."""
    way = any_way("", settings)
    way.look = way.rediscover_after_loss = None
    return by_way(way, lambda found: asyncio.run(ask(found, PATIENCE_S, hello(), Nodes()))), way.place


def worker(member: Identity) -> None:
    """Say whether the master of a device that is a worker only answers at its door."""
    failed: Exception = OctapiError("no address of it is known")
    for address in member.addresses:
        try:
            asyncio.run(asyncio.wait_for(joining.call(member, address), PATIENCE_S))
        except (OctapiError, OSError, asyncio.IncompleteReadError) as error:
            failed = error
            continue
        print(f"The master at {visible(address)} answers, and knows this worker.")
        tell("Next", ["octapi login TOKEN           let scripts on this computer use the cluster too"])
        return
    raise failed


def cluster(overview: dict[str, Any], place: str, is_master: bool) -> None:
    """Say who is in the cluster."""
    workers = overview["workers"]
    slots = sum(int(row["slots"]) for row in workers)
    away = len(
        {row["name"] for row in overview["members"] if row["role"] == "worker"} - {row["name"] for row in workers}
    )
    more = f" ({away} more {'is' if away == 1 else 'are'} away)" if away else ""
    print(f"The master at {visible(place)} answers: {many(len(workers), 'worker')}{more}, {many(slots, 'slot')}.")
    if not workers and is_master:
        tell("Next", ["octapi token create          a line for each device that is to be a worker"])
    else:
        tell("Next", ["octapi run SCRIPT            run a script on it", "octapi nodes                 see who is in"])


def alone() -> None:
    """Say what a computer in no cluster can do."""
    found = of_others()
    for role, account in found:
        more = f": 'sudo octapi' tells of it, {LOGIN}" if account == "root" else f"; {LOGIN}"
        print(f"The account {visible(account)} runs a {role} on this computer{more}.")
    whose = "login" if found else "computer"
    own = "this computer's" if found else "its"
    print(f"This {whose} is in no cluster. Scripts use {own} own {many(cores(), 'core')}.")
    tell(
        "Next",
        [
            FIRST,
            "octapi run SCRIPT            run a script on this computer's cores",
            "octapi master                make a cluster, with this computer as its master",
            "octapi worker TOKEN          let this computer work for a cluster",
        ],
    )


def of_others() -> list[tuple[str, str]]:
    """Return what other accounts of this computer are in a cluster, as far as the system tells: roles and accounts."""
    import psutil

    own, found = psutil.Process().username(), set()
    for process in psutil.process_iter(["cmdline", "username"]):
        words, account = process.info["cmdline"] or [], process.info["username"]
        if account and account != own and (role := role_of(words)):
            found.add((role, account))
    return sorted(found)


def role_of(words: list[str]) -> str:
    """Return the role of a process by its command line: master, worker, or nothing."""
    for program, role in itertools.pairwise(words):
        if Path(program).name == "octapi" and role in ("master", "worker"):
            return role
    return ""


def tell(title: str, lines: list[str]) -> None:
    """Print what to do next."""
    print(f"\n{title}:")
    for line in (*lines, "octapi --help                all commands"):
        print(f"  {line}")
