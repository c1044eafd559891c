"""Bare devices: the installer, the line that needs no internet, and services under a real systemd."""

import json
from collections.abc import Iterator

import pytest

from tests.containers.site import SYSTEMD, Device, Site, build, carry, sources
from tests.harness import until

pytestmark = pytest.mark.timeout(900)  # three installations stand behind the first tests

#: a job's module; as a module beside the script it travels as source, for workers have other Pythons
WORK = """
def where(n):
    import os, pathlib, pwd, socket
    facts = {"host": socket.gethostname(), "user": pwd.getpwuid(os.getuid()).pw_name, "square": n * n}
    facts["status"] = pathlib.Path("/proc/self/status").read_text()
    for path in ("/root/.octapi/worker.json", "/usr/new", "/etc/new", "/tmp/new", "new"):
        try:
            open(path, "r" if path.endswith("json") else "w").close()
            facts[path] = "open"
        except OSError as error:
            facts[path] = error.strerror
    try:
        import gpio_like
        facts["apt"] = gpio_like.NAME
    except ImportError:
        facts["apt"] = ""
    return facts
"""
RUN = """
import json, octapi, octapi_work
with octapi.Cluster() as cluster:
    rows = []
    while NAME not in [row["host"] for row in rows]:
        rows = list(cluster.map(octapi_work.where, [7] * 8))
    print(json.dumps(next(row for row in rows if row["host"] == NAME)))
"""


@pytest.fixture(scope="module")
def site(engine: None) -> Iterator[Site]:
    """Make a network of bare devices."""
    build()
    found = Site()
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def master(site: Site) -> Device:
    """Install from a checkout on Debian 13 with nothing but python3, by root, and run a master there."""
    found = site.device("master", has_internet=True)
    found.unpack(sources(), "/src")
    found.sh("groupadd octapi")  # as the page on devices says, for people who use the cluster
    assert "No module named" in found.sh("python3 -c 'import ensurepip'", code=None)
    found.said = found.sh("/src/scripts/install", seconds=600)
    found.put("/tmp/octapi_work.py", WORK)
    found.background(f"octapi master --name school --advertise {found.address}")
    found.until_says("joins at")
    found.sh("octapi wheels fetch --machine $(uname -m) --python 3.11", seconds=400)
    return found


def line_for(master: Device, end: str = "") -> str:
    """Return the line for a bare device, as root types it there; ``end`` takes the place of the last words."""
    text = master.sh("octapi token create --install --show --once").strip().splitlines()[-1]
    text = text.replace("| sudo ", "| ")
    return text.replace("worker - --install-service", end) if end else text


@pytest.fixture(scope="module")
def bare(site: Site, master: Device) -> Device:
    """Install and join a Debian 13 without internet by the line, with the worker in the foreground."""
    found = site.device("bare")
    found.put("/usr/lib/python3/dist-packages/gpio_like.py", "NAME = 'from apt'\n")
    found.put("/tmp/line", line_for(master, "worker - --slots 1"))
    found.background("sh /tmp/line")
    found.until_says("bare works for school", 400)
    return found


@pytest.fixture(scope="module")
def service(site: Site, master: Device) -> Device:
    """Install and join a Debian 12 without internet by the line, as a service of systemd."""
    found = site.device("service", SYSTEMD)
    found.put("/tmp/line", line_for(master))
    found.said = found.sh("sh /tmp/line", seconds=400)
    until(lambda: online(master, "service"), 60)
    return found


def online(master: Device, name: str) -> dict:
    """Return what the master tells of a worker; empty while it is not here."""
    text = master.sh("octapi nodes --json", code=None)
    rows = json.loads(text) if text.startswith("[") else []
    return next((row for row in rows if row["name"] == name and row["online"]), {})


def job_on(master: Device, name: str) -> dict:
    """Run the job until it ran on a worker, and return its facts."""
    said = master.python(RUN.replace("NAME", repr(name)))
    return json.loads(next(line for line in said.splitlines() if line.startswith("{")))


# ---- from a checkout


def test_the_systems_python_finds_octapi_and_dispy(master: Device) -> None:
    """By root, on a Debian that has python3 and nothing else, not even python3-venv."""
    assert "installed. 'octapi' is /usr/local/bin/octapi" in master.said
    assert "Total job time" in master.sh("cd /src/examples && OCTAPI_ADDRESS=local python3 ./compute.py")
    assert master.sh("octapi version").strip() == master.python("import octapi; print(octapi.__version__)").strip()
    assert master.sh("getent passwd octapi octapi-slot").count("/usr/sbin/nologin") == 2


def test_no_program_of_the_system_sees_other_libraries(master: Device) -> None:
    """Debian's packages stay what they were; in programs that import octapi its own come first."""
    assert "No module named 'msgpack'" in master.python("import msgpack", code=1)
    master.put("/usr/lib/python3/dist-packages/msgpack.py", "version = 'of Debian'\n")
    seen = (
        master.python("import msgpack; print(msgpack.version)"),
        master.python("import octapi.cluster, msgpack; print(msgpack.version)"),
    )
    master.sh("rm -r /usr/lib/python3/dist-packages/msgpack.py")

    assert seen[0].strip() == "of Debian"
    assert seen[1].strip().startswith("(")


def test_installing_again_changes_nothing(master: Device) -> None:
    """With python3-venv there this time, as the first run left it; the very same wheels come out."""
    before = master.sh("readlink /opt/octapi/current; python3 -c 'import ensurepip'")

    assert "are installed in /opt/octapi already" in master.sh("/src/scripts/install", seconds=600)
    assert master.sh("readlink /opt/octapi/current") == before


def test_an_upgrade_that_fails_leaves_what_was_and_one_that_succeeds_takes_its_place(master: Device) -> None:
    """One link leads to the release in use."""
    before = master.sh("readlink /opt/octapi/current; ls /opt/octapi/releases")
    master.sh("cp -r /root/.octapi/wheels /tmp/new && cd /tmp/new && head -c 9999 octapi-*.whl >x && mv x octapi-*.whl")
    failed = master.sh("/src/scripts/install --wheels /tmp/new", code=1)

    assert "Failed: installing for Python 3.13" in failed
    assert master.sh("readlink /opt/octapi/current; ls /opt/octapi/releases") == before

    master.sh("cp /root/.octapi/wheels/octapi-*.whl /tmp/new && /src/scripts/install --wheels /tmp/new", seconds=400)

    after = master.sh("readlink /opt/octapi/current; ls /opt/octapi/releases").split()
    assert after[0] != before.split()[0]
    assert 2 <= len(after) <= 3  # the old one stays while something runs from it
    assert after[0] in master.python("import octapi; print(octapi.__file__)")


def test_a_user_without_root_installs_for_himself_and_removes_it(master: Device) -> None:
    """Below ~/.local; his python3 finds both, and nobody else's."""
    master.sh("useradd -m -s /bin/sh ann && cp -r /root/.octapi/wheels /home/ann && chown -R ann /home/ann")
    said = master.sh("HOME=/home/ann /src/scripts/install --wheels /home/ann/wheels", user="ann", seconds=400)
    found = "HOME=/home/ann python3 -c 'import octapi, dispy; print(octapi.__file__)'"

    assert "installed. 'octapi' is /home/ann/.local/bin/octapi" in said
    assert "/home/ann/.local/bin is not on your PATH now" in said
    assert master.sh(found, user="ann").startswith("/home/ann/.local/share/octapi/")

    said = master.sh("HOME=/home/ann python3 /home/ann/.local/share/octapi/install.py --uninstall", user="ann")

    assert "What stays: /home/ann/.octapi." in said

    assert master.sh(found, user="ann").startswith("/opt/octapi/")
    assert not master.sh("find /home/ann/.local -name '*octapi*'")


# ---- from the master


def test_a_device_without_internet_installs_and_joins_by_one_line(master: Device, bare: Device) -> None:
    """It has python3 and the way to the master; jobs there see what apt installed."""
    facts = job_on(master, "bare")

    assert facts["square"] == 49
    assert facts["user"] == "octapi-slot"
    assert facts["apt"] == "from apt"
    assert "from the master at" in bare.sh("cat /tmp/said")
    assert "octapi1." not in bare.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")


def test_without_systemd_the_service_is_refused_with_what_to_do(bare: Device) -> None:
    """Before anything is changed."""
    assert "systemd does not run on this device" in bare.sh("octapi worker --install-service", code=1)


def test_removing_leaves_nothing(bare: Device) -> None:
    """With --purge, identity and accounts too."""
    pulse = json.loads(bare.sh("cat /run/octapi/worker.pulse"))
    bare.sh(f"kill {pulse['pid']}; while kill -0 {pulse['pid']}; do :; done")
    bare.sh("python3 /opt/octapi/install.py --uninstall --purge")

    assert "No module named 'octapi'" in bare.python("import octapi", code=1)
    assert not bare.sh("getent passwd octapi octapi-slot", code=2)
    assert not bare.sh("find / -xdev -name '*octapi*' -not -path '/proc/*' -not -path '/tmp/*' -not -path '/run/*'")


# ---- as a service


def test_the_service_runs_jobs_behind_walls(master: Device, service: Device) -> None:
    """Agent and jobs are different users; jobs gain no rights, and the system is read-only for them."""
    facts = job_on(master, "service")

    assert facts["user"] == "octapi-slot"
    assert facts["/root/.octapi/worker.json"] == "Permission denied"
    assert facts["/usr/new"] == facts["/etc/new"] == "Read-only file system"
    assert facts["/tmp/new"] == facts["new"] == "open"
    assert "NoNewPrivs:\t1" in facts["status"]
    assert "CapEff:\t0000000000000000" in facts["status"]
    assert main_process(service)["user"] == "root"
    assert service.sh("test -e /tmp/new", code=1) == ""


def test_the_service_starts_with_the_device_and_holds_no_secret(service: Device) -> None:
    """Neither units nor command lines show a token; systemd finds nothing wrong with the units."""
    assert service.sh("systemctl is-enabled octapi-worker octapi-worker-ssh.socket").split() == ["enabled"] * 2
    assert "octapi1." not in service.sh("cat /etc/systemd/system/octapi* /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert not service.sh(
        "systemd-analyze verify /etc/systemd/system/octapi-worker.service 2>&1 | grep -i octapi", code=1
    )
    assert "octapi worker: 'journalctl -u octapi-worker -f' shows" in service.said


def main_process(device: Device, role: str = "worker") -> dict[str, str]:
    """Return pid and user of a service's first process."""
    pid = device.sh(f"systemctl show -p MainPID --value octapi-{role}").strip()
    user = device.sh(f"stat -c %U /proc/{pid}", code=None).strip()
    return {"pid": pid, "user": user}


def test_an_agent_that_is_killed_comes_back_and_works(master: Device, service: Device) -> None:
    """Systemd starts it again; the worker finds its master by itself."""
    before = main_process(service)["pid"]
    service.sh("systemctl kill --signal KILL --kill-who main octapi-worker")
    until(lambda: main_process(service)["pid"] not in (before, "0"), 60)
    until(lambda: "works for school" in service.sh(f"journalctl _PID={main_process(service)['pid']}"), 60)

    assert job_on(master, "service")["square"] == 49


def test_the_master_logs_in_and_is_not_behind_the_walls(master: Device, service: Device) -> None:
    """By certificate, with no question, to take care of the device; each login gets an sshd of its own."""
    master.sh("command -v ssh || { apt-get update -q && apt-get install -qy --no-install-recommends openssh-client; }")
    said = master.sh(
        "octapi ssh service 'touch /usr/by-ssh && id -un && systemctl is-active octapi-worker'", stdin=None
    )

    assert said.split()[-2:] == ["root", "active"]
    assert service.sh("ls /usr/by-ssh")


def test_giving_the_command_again_changes_the_service(master: Device, service: Device) -> None:
    """No token is needed; the new options hold."""
    service.sh("octapi worker --install-service --slots 1")
    until(lambda: online(master, "service").get("slots") == 1, 60)

    assert "octapi worker --slots 1" in service.sh("systemctl cat octapi-worker")


def test_an_upgrade_starts_the_service_anew(master: Device, service: Device) -> None:
    """From wheels on a memory stick; the service runs the new release."""
    carry(master, "/root/.octapi/wheels", service, "/root/wheels")
    before = main_process(service)["pid"]
    service.sh("python3 /opt/octapi/install.py --wheels /root/wheels", seconds=400)
    release = service.sh("readlink /opt/octapi/current").strip()
    until(lambda: main_process(service)["pid"] not in (before, "0"), 60)

    assert until(
        lambda: release in service.sh(f"tr '\\0' ' ' </proc/{main_process(service)['pid']}/cmdline", code=None), 30
    )


def test_a_removed_service_is_gone_and_the_identity_stays(service: Device) -> None:
    """Nothing of it is left in systemd."""
    said = service.sh("octapi worker --remove-service")

    assert "octapi-worker.service and octapi-worker-ssh.socket" in said
    assert "The identity in /root/.octapi stays" in said
    assert not service.sh("ls /etc/systemd/system/*octapi* /etc/systemd/system/*/*octapi* 2>/dev/null", code=2)
    assert "0 unit files listed" in service.sh("systemctl list-unit-files 'octapi*'", code=None)
    assert "There is no service of an OctaPi worker" in service.sh("octapi worker --remove-service", code=1)


def test_a_master_is_a_service_too(service: Device) -> None:
    """The authority's process is root's, the scheduler has an account of its own, and it serves its own wheels."""
    service.sh("octapi master --name second --install-service --advertise 10.9.9.9")
    until(lambda: "octapi1." in service.sh("octapi token create --show", code=None), 60)
    scheduler = (
        "for p in $(pidof -x python3 python octapi); do tr '\\0' ' ' </proc/$p/cmdline; stat -c %U /proc/$p; done"
    )

    until(lambda: "octapi.master.gateway.server octapi" in service.sh(scheduler), 60)
    assert main_process(service, "master")["user"] == "root"
    assert service.sh("ls /var/lib/octapi/history")
    assert "10.9.9.9:8785" in service.sh("octapi token create --install --show")
    assert "octapi-master.service removed" in service.sh("octapi master --remove-service")
