"""Rebooting and shutting down a device: through the agent of its container engine, or by the system itself.

On balena only a container with a label may ask the supervisor for it, and that label lets it take over the device.  So
a small container of its own, the agent, has it, and does two things only.  It listens at a socket in a volume that it
shares with the worker, open to root alone: SSH logins of the master are root there, jobs are not.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from octapi.errors import ActionFailed

log = logging.getLogger("octapi.device")

ACTIONS: Final = ("reboot", "shutdown")
SOCKET: Final = Path("/run/octapi-agent/agent.sock")
ANSWER_S: Final = 20.0
REQUEST_LIMIT: Final = 64


def act(action: str, place: Path = SOCKET) -> str:
    """Reboot or shut down this device, and return what was said.  Raises :exc:`ActionFailed`."""
    if action not in ACTIONS:
        raise ActionFailed(f"A device can {' or '.join(ACTIONS)}, not {action!r}.")
    if place.exists():
        return ask_agent(action, place)
    systemctl = shutil.which("systemctl")
    if systemctl is None or not Path("/run/systemd/system").exists():
        raise ActionFailed(
            "This device has neither systemd nor OctaPi's agent, so it cannot be restarted from here. In a container "
            "the service 'agent' of the compose file is missing."
        )
    verb = "reboot" if action == "reboot" else "poweroff"
    done = subprocess.run([systemctl, verb], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise ActionFailed(f"systemctl {verb}: {done.stderr.strip()}")
    return "it goes down"


def ask_agent(action: str, place: Path) -> str:
    """Ask the agent.  Raises :exc:`ActionFailed` with what it says."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(ANSWER_S)
            sock.connect(str(place))
            sock.sendall(f"{action}\n".encode())
            answer = sock.makefile("r", encoding="utf-8").readline().strip()
    except OSError as error:
        raise ActionFailed(f"The agent at {place} does not answer: {error}.") from error
    if not answer.startswith("ok"):
        raise ActionFailed(f"The agent says: {answer or 'nothing'}")
    return answer.removeprefix("ok").strip() or "it goes down"


def ask_supervisor(action: str) -> str:
    """Ask the supervisor of balenaOS, and return what the agent answers."""
    address, key = (os.environ.get(f"BALENA_SUPERVISOR_{name}", "") for name in ("ADDRESS", "API_KEY"))
    if not address:
        return "this container has no supervisor; it needs the label io.balena.features.supervisor-api"
    request = urllib.request.Request(
        f"{address}/v1/{action}?apikey={key}", b"{}", {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            text = json.loads(answer.read() or b"{}").get("Data", "OK")
            return f"ok the supervisor says {text}"
    except (OSError, ValueError) as error:
        body = error.read().decode("utf-8", "replace")[:200] if isinstance(error, urllib.error.HTTPError) else ""
        return f"the supervisor refused: {error} {body}".strip()


def serve(place: Path = SOCKET) -> None:
    """Be the agent, until the process is told to end."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        place.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        old = os.umask(0o177)
        listener.bind(str(place))
        os.umask(old)
        listener.listen(4)
        log.info(f"ready at {place}.", extra={"on_stdout": True})
        while True:
            answer_one(listener.accept()[0])


def answer_one(sock: socket.socket) -> None:
    """Answer one request; whoever says nothing is not waited for."""
    with sock:
        sock.settimeout(ANSWER_S)
        try:
            action = sock.recv(REQUEST_LIMIT).decode("ascii", "replace").strip()
            said = ask_supervisor(action) if action in ACTIONS else "only reboot and shutdown"
            log.info(f"{action[:20]!r}: {said}")
            sock.sendall(f"{said}\n".encode())
        except OSError as error:
            log.warning(f"a request failed: {error}")
