"""Started by root, as containers do: jobs and the scheduler run under accounts that cannot read any identity."""

import asyncio
import json
import os
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from octapi.device import accounts
from octapi.trust import control_socket
from octapi.trust.authority import Authority, new_state
from tests.harness import Yard, clean_environment

if os.geteuid():
    assert not os.environ.get("CI"), "CI must run as root"
    pytest.skip("only root can give accounts to processes", allow_module_level=True)


def open_python() -> tuple[str, dict[str, str]]:
    """Return a Python of this version that every account may run, with this environment's packages."""
    if not accounts.unreadable():
        return sys.executable, {}
    found = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    sources = [entry for entry in sys.path if entry.endswith("src")]
    packages = [sysconfig.get_path("purelib"), *sources, *site.getsitepackages()]
    probe = [found, "-c", "import msgpack, distributed, octapi"]
    env = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(packages)), "PATH": os.environ["PATH"]}
    done = subprocess.run(probe, env=env, user="nobody", extra_groups=[], capture_output=True, text=True, check=False)
    if done.returncode:
        assert not os.environ.get("CI"), f"CI needs a Python that every account may run: {done.stderr}"
        pytest.skip(f"no other account may run this Python, nor {found}")
    return found, env


SCHEDULER, SLOTS = accounts.find(accounts.SCHEDULER_ACCOUNT), accounts.find(accounts.SLOT_ACCOUNT)

SPY = """
import octapi, os, sys

def spy(paths):
    found = {"uid": os.getuid(), "groups": os.getgroups(), "env": dict(os.environ), "read": {}}
    agent = os.getppid()
    while True:
        status = open(f"/proc/{agent}/status").read()
        if "\\nUid:\\t0\\t" in status:
            break
        agent = int(status.split("PPid:\\t")[1].split()[0])
    for path in [*paths, f"/proc/{agent}/environ", f"/proc/{agent}/mem", f"/proc/{agent}/fd/0"]:
        try:
            open(path, "rb").read(1)
            found["read"][path] = True
        except OSError as error:
            found["read"][path] = type(error).__name__
    try:
        os.kill(agent, 0)
        found["kill"] = True
    except PermissionError:
        found["kill"] = False
    return found

def spy_on(pid):
    found = {}
    for name in ("mem", "environ", "maps"):
        try:
            open(f"/proc/{pid}/{name}", "rb").read(1)
            found[name] = True
        except OSError as error:
            found[name] = type(error).__name__
    return found

def send(path):
    os.symlink(path, "link")
    octapi.send_file("link")

with octapi.Cluster() as cluster:
    import json
    print("FOUND", json.dumps(cluster.submit(spy, json.loads(sys.argv[1])).result()))
    try:
        cluster.submit(send, json.loads(sys.argv[1])[0]).result()
    except Exception as error:
        print("SENT", repr(error))
    if "dask" in sys.argv:
        client = cluster.dask
        task = client.submit(spy, json.loads(sys.argv[1])).result()
        pid = client.submit(os.getpid, pure=False).result()
        print("TASK", json.dumps([task, cluster.submit(spy_on, pid).result()]))
"""


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def test_jobs_and_the_scheduler_cannot_read_any_identity(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor the agent's memory, nor through a link that is sent home; and they get no secret in their environment.

    The same holds for Dask's tasks, but for the certificate of their own process, whose memory no job reads.
    """
    python, env = open_python()
    monkeypatch.setattr("tests.harness.OCTAPI", [python, "-m", "octapi.cli.app"])
    monkeypatch.setattr(sys, "executable", python)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    yard.place.chmod(0o755)
    for path in yard.place.parents:
        if path.stat().st_uid == 0 and str(path).startswith("/tmp/pytest"):
            path.chmod(0o755)
    master = yard.master()
    assert "everything runs as root" not in master.text()
    token = yard.token()
    worker = yard.worker("red", token)
    secrets = [
        yard.home("red") / "worker.json",
        yard.home("red") / "ssh" / "host_key",
        yard.home("master") / "authority" / "authority.json",
    ]
    assert [path for path in secrets if not path.exists()] == []
    script = yard.place / "spy.py"
    script.write_text(SPY)
    done = subprocess.run(
        [python, str(script), json.dumps([str(path) for path in secrets]), "dask"],
        env=clean_environment() | {"OCTAPI_HOME": str(yard.home("master"))},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + worker.text()
    found = json.loads(done.stdout.split("FOUND ")[1].splitlines()[0])

    assert SLOTS is not None
    assert found["uid"] == SLOTS.uid
    assert found["groups"] == []
    assert set(found["read"].values()) == {"PermissionError"}, found["read"]
    assert not found["kill"]
    assert not [key for key in found["env"] if "TOKEN" in key]
    assert token.split(".")[3] not in json.dumps(found["env"])
    assert "PermissionError" in done.stdout.split("SENT ")[1]
    task, process = json.loads(done.stdout.split("TASK ")[1].splitlines()[0])
    assert task["uid"] == SLOTS.uid
    assert task["groups"] == []
    assert set(task["read"].values()) == {"PermissionError"}, task["read"]
    assert not task["kill"]
    assert process == {"mem": "PermissionError", "environ": "PermissionError", "maps": "PermissionError"}
    children = Path(f"/proc/{master.process.pid}/task/{master.process.pid}/children").read_text().split()
    users = {status_of(int(pid)).split("Uid:\t")[1].split()[0] for pid in children}
    assert SCHEDULER is not None
    assert users == {str(SCHEDULER.uid)}


LOGIN = """
import sys
from pathlib import Path
from octapi.trust import login
try:
    found = login.from_master(Path(sys.argv[1]))
    print(found.role, found.name)
    print(login.ask_local(Path(sys.argv[1]), lambda nonce: {"op": "token-create"}))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("group", ["nogroup", "no-such-group"])
def test_the_group_of_the_masters_computer_are_clients_without_a_token(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    """The kernel says who asks. Members become clients, and only that; others are told how to become one."""
    python, env = open_python()
    monkeypatch.setattr(control_socket, "GROUP", group)
    place = Path("/run") / f"octapi-test-{os.getpid()}"
    authority = Authority(new_state("school", 1e9))
    counter = control_socket.ControlSocket(
        authority, lambda: ["127.0.0.1:1"], lambda: {"addresses": []}, lambda _: None
    )

    async def ask() -> str:
        await counter.listen(place / "master.sock")
        try:
            process = await asyncio.create_subprocess_exec(
                python, "-c", LOGIN, str(place / "master.sock"),
                env=os.environ | env, user="nobody", group="nogroup", extra_groups=[], cwd="/", stdout=subprocess.PIPE,
            )  # fmt: skip
            out, _ = await asyncio.wait_for(process.communicate(), 60)
            return out.decode()
        finally:
            await counter.close()
            place.rmdir()

    heard = asyncio.run(ask())
    if group == "nogroup":
        assert heard.startswith("client nobody-")
        assert "RoleRefused Only the owner of the master and root may do that" in heard
        assert [member.role for member in authority.ledger.active()] == ["client"]
    else:
        assert "RoleRefused You are not in the group 'no-such-group'" in heard
        assert "sudo usermod -aG no-such-group nobody" in heard
        assert not list(authority.ledger.active())
