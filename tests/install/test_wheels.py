"""Wheels from the master: made again from what is installed, given at the door, checked against the token."""

import base64
import contextlib
import csv
import hashlib
import io
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import pytest
from packaging.utils import parse_wheel_filename

from octapi.errors import WheelProblem
from octapi.install import bootstrap, build_index, install_command, repack, wheel_download, wheel_index, wheel_server
from octapi.trust import enrolment_server
from octapi.trust import token as tokens
from tests.harness import OCTAPI, Running, Yard, clean_environment, ports_of

ROOT = Path(__file__).parents[2]
BOOTSTRAP = Path(bootstrap.__file__)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the wheels of this environment once."""
    place = tmp_path_factory.mktemp("packed") / "wheels"
    build_index.pack(place)
    return place


@pytest.fixture
def master(yard: Yard, packed: Path) -> Running:
    """Start a master with wheels on its shelf."""
    shutil.copytree(packed, yard.home("master") / wheel_index.DIRECTORY)
    return yard.master()


def fetched(token: str, target: Path) -> subprocess.CompletedProcess[str]:
    """Do what a device does up to the installation, with nothing but Python's standard library."""
    target.mkdir()
    code = (
        "import pathlib, runpy, sys\n"
        f"found = runpy.run_path({str(BOOTSTRAP)!r})\n"
        "try:\n"
        f"    found['fetch'](found['find_master'](sys.stdin.readline()), pathlib.Path({str(target)!r}))\n"
        "except found['Problem'] as error:\n"
        "    sys.exit(str(error))\n"
    )
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        input=token, capture_output=True, text=True, check=False, timeout=60, env=clean_environment(),
    )  # fmt: skip


def said_by(port: int, data: bytes, protocols: tuple[str, ...] = (enrolment_server.HTTP,)) -> bytes:
    """Say something to the door of a master on this computer, and return all that it answers."""
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(list(protocols))
    answer = b""
    with (
        socket.create_connection(("127.0.0.1", port), 20) as plain,
        context.wrap_socket(plain, server_hostname="x") as sock,
    ):
        sock.sendall(data)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while piece := sock.recv(1 << 16):
                answer += piece
    return answer


# ---- what lies on the shelf


def test_wheels_made_again_are_whole(packed: Path) -> None:
    """Each file's hash stands in RECORD, names are those of wheels, and pip and dispy are among them."""
    names = set()
    for path in packed.glob("*.whl"):
        names.add(parse_wheel_filename(path.name)[0])
        with zipfile.ZipFile(path) as wheel:
            record = next(name for name in wheel.namelist() if name.endswith("/RECORD"))
            rows = {row[0]: row[1] for row in csv.reader(io.StringIO(wheel.read(record).decode()))}
            assert set(rows) == set(wheel.namelist())
            for name in set(rows) - {record}:
                digest = base64.urlsafe_b64encode(hashlib.sha256(wheel.read(name)).digest()).rstrip(b"=").decode()
                assert rows[name] == f"sha256={digest}", name

    assert {"octapi", "octapi-dispy", "pip", "distributed", "cryptography", "py-enigma"} <= names
    assert "pytest" not in names


def test_the_list_is_true_and_packing_again_changes_nothing(packed: Path) -> None:
    """Sizes and hashes are those of the files; the second time is a glance."""
    for wheel in wheel_index.read(packed):
        assert wheel_index.hash_of(packed / wheel.name) == wheel
    before = {path: path.stat().st_mtime_ns for path in packed.iterdir()}

    assert build_index.pack(packed) == []
    assert {path: path.stat().st_mtime_ns for path in packed.iterdir()} == before


def test_the_wheel_of_dispy_holds_what_the_distribution_holds() -> None:
    """It is made from a copy inside octapi, so both must say the same."""
    root = Path(__file__).parent.parent.parent
    copy = (root / "src/octapi/shim/dispy/__init__.py").read_text()

    assert (
        copy.partition("import sys")[2]
        == (root / "compat/dispy/dispy/__init__.py").read_text().partition("import sys")[2]
    )


def test_one_version_of_each_distribution_lies_there(tmp_path: Path) -> None:
    """Devices must not get a mixture: a new release moves the old one out, and a twin of other tag order too."""
    place = tmp_path / "shelf"

    def put(*names: str) -> list[str]:
        source = tmp_path / "new"
        source.mkdir(exist_ok=True)
        for name in names:
            (source / name).write_text(name)
        return wheel_index.put(place, source, "1")

    put("octapi-1.0-py3-none-any.whl", "a_b-1-cp311-cp311-x.y.whl", "c-1-py3-none-any.whl")

    assert put("octapi-1.1-py3-none-any.whl", "a_b-1-cp311-cp311-y.x.whl") == ["octapi-1.0-py3-none-any.whl"]
    assert [wheel.name for wheel in wheel_index.read(place)] == [
        "a_b-1-cp311-cp311-y.x.whl", "c-1-py3-none-any.whl", "octapi-1.1-py3-none-any.whl",
    ]  # fmt: skip
    assert sorted(path.name for path in place.glob("*.whl")) == [wheel.name for wheel in wheel_index.read(place)]


def test_what_the_system_or_a_developer_installed_is_refused(tmp_path: Path) -> None:
    """Its files are not what a wheel holds; the message says what to do."""
    for file, text, words in (
        ("WHEEL", "Tag: py3-none-any\n", "without -e"),
        ("x", "", "by the system's packages"),
    ):
        place = tmp_path / file
        home = place / "thing-1.dist-info"
        home.mkdir(parents=True)
        (home / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1\n")
        (home / "RECORD").write_text("thing-1.dist-info/METADATA,,\n")
        (home / "direct_url.json").write_text('{"dir_info": {"editable": true}}')
        (home / file).write_text(text)
        (package,) = metadata.distributions(path=[str(place)])

        with pytest.raises(WheelProblem, match=words):
            repack.pack(package, tmp_path)


def test_a_master_that_runs_from_its_source_says_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an environment its own pip does it; elsewhere the installer makes one."""

    def missing(name: str) -> NoReturn:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(repack.metadata, "distribution", missing)
    monkeypatch.setattr(repack, "checkout", lambda: ROOT)
    with pytest.raises(WheelProblem, match=re.escape(f"runs from its source in {ROOT}, ")):
        repack.needed()
    monkeypatch.setattr(repack, "checkout", lambda: ROOT / "src")
    with pytest.raises(WheelProblem, match="octapi is not installed here"):
        repack.needed()
    assert repack.from_source(Path("/a b"), True).endswith(f": {sys.executable} -m pip install '/a b'")
    assert repack.from_source(Path("/a"), False).endswith(": sudo /a/scripts/install")


def test_requirements_are_read_for_the_python_that_is_wanted() -> None:
    """Pip would read their conditions for the Python that it runs on."""
    text = (
        "Metadata-Version: 2.1\nName: t\nVersion: 1\n"
        "Requires-Dist: old; python_version<'3.12'\nRequires-Dist: x; extra=='e'\n"
    )

    class Package(metadata.Distribution):
        def read_text(self, filename: str) -> str | None:
            return text if filename == "METADATA" else None

        def locate_file(self, path: object) -> Path:
            raise NotImplementedError

    def names(python: str, *extras: str) -> list[str]:
        environment = wheel_download.Target("aarch64", python).environment()
        return [row.name for row, _ in repack.requirements(Package(), extras, environment)]

    assert names("3.11") == ["old"]
    assert names("3.13") == []
    assert names("3.13", "e") == ["x"]


def test_a_home_that_the_wheels_make_is_good_for_an_identity(yard: Yard) -> None:
    """They may come before the master's first start; others cannot enter."""
    home = yard.place / "master"
    yard.running.append(found := Running([*OCTAPI, "wheels", "pack"], home))
    assert found.wait(60) == 0
    assert home.stat().st_mode & 0o777 == 0o700

    yard.master()


@pytest.mark.parametrize(("machine", "python"), [("../x", "3.13"), ("aarch64", "3"), ("aarch64", "--index-url=x")])
def test_odd_kinds_of_devices_are_refused(machine: str, python: str) -> None:
    """What goes to pip is a machine and a Python, nothing else."""
    with pytest.raises(WheelProblem, match="is no kind of device"):
        wheel_download.targets([machine], [python])


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("rich-15.0-py3-none-any.whl", True),
        ("zict-3.0.0-py2.py3-none-any.whl", True),
        ("msgpack-1.2-cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64.whl", True),
        ("msgpack-1.2-cp311-cp311-manylinux2014_aarch64.whl", False),
        ("msgpack-1.2-cp313-cp313-manylinux2014_x86_64.whl", False),
        ("tornado-6-cp39-abi3-manylinux1_aarch64.whl", True),
        ("thing-1-1-cp313-cp313-linux_aarch64.whl", True),
        ("../../etc/passwd", False),
        ("x/y-1-py3-none-any.whl", False),
        ("rich-15.0-py3-none-any.whl\n", False),
    ],
)
def test_a_device_takes_what_may_fit_and_nothing_with_another_name(name: str, fits: bool) -> None:
    """It never writes a file whose name is a path."""
    assert bootstrap.may_fit(name, "aarch64", (3, 13)) is fits


# ---- the device and its master


def test_a_device_gets_all_wheels_for_its_python(yard: Yard, master: Running, packed: Path, tmp_path: Path) -> None:
    """With the standard library alone, and the authority checked against the token."""
    done = fetched(yard.token(), tmp_path / "got")

    assert done.returncode == 0, done.stderr
    got = {path.name: path.read_bytes() for path in (tmp_path / "got").iterdir()}
    assert got == {path.name: path.read_bytes() for path in packed.glob("*.whl")}
    assert "asks for the list, to install OctaPi" in master.text()


def test_old_tokens_find_their_authority_after_it_was_replaced(yard: Yard, master: Running, tmp_path: Path) -> None:
    """The door shows the key that the token pins."""
    token = yard.token()
    yard.command("master", "identity", "rotate")

    assert fetched(token, tmp_path / "got").returncode == 0


def test_another_master_at_the_tokens_address_is_refused(yard: Yard, master: Running, tmp_path: Path) -> None:
    """Somebody who took the address has wheels too, and another authority."""
    yard.master(home="thief")
    mine, thief = tokens.parse(yard.token()), tokens.parse(yard.token(home="thief"))
    caught = tokens.Token(mine.pin, mine.ident, mine.secret, thief.addresses)

    done = fetched(caught.text(), tmp_path / "got")

    assert "is not the master that made this token. Nothing was run." in done.stderr
    assert not list((tmp_path / "got").iterdir())


@contextlib.contextmanager
def impostor(identity: Path, authority: str) -> Iterator[int]:
    """Be a member of the cluster that listens as if it were the door, and knows the authority's certificate."""
    facts = json.loads(identity.read_text())
    pem = identity.with_suffix(".pem")
    pem.write_text(facts["certificate"] + facts["key"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as sock:
                    sock.recv(4096)
                    sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + authority.encode())

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_worker_of_the_cluster_cannot_pass_for_its_master(yard: Yard, master: Running, tmp_path: Path) -> None:
    """Its certificate is of the right authority, and says that it is a worker."""
    token = tokens.parse(yard.token())
    yard.worker("red", token.text()).stop()
    authority = said_by(ports_of(master)["join"], b"GET /authority.pem HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")[2]
    with impostor(yard.home("red") / "worker.json", authority.decode()) as port:
        caught = tokens.Token(token.pin, token.ident, token.secret, (f"127.0.0.1:{port}",))

        done = fetched(caught.text(), tmp_path / "got")

    assert "a member of the cluster, but not its master. Nothing was run." in done.stderr


def test_a_wheel_that_was_changed_is_not_installed(yard: Yard, master: Running, tmp_path: Path) -> None:
    """Its hash is not that of the list."""
    path = next((yard.home("master") / "wheels").glob("rich-*.whl"))
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)

    assert f"{path.name} is not what the master's list says" in fetched(yard.token(), tmp_path / "got").stderr


def test_a_master_without_wheels_says_so(yard: Yard, tmp_path: Path) -> None:
    """The line was made elsewhere, or the shelf was emptied."""
    yard.master()

    assert "There is no such wheel here" in fetched(yard.token(), tmp_path / "got").stderr


@pytest.mark.parametrize("text", ["", "hello", "octapi1.a.b.c.d.e", "octapi1.AAAA.b.c..e"])
def test_what_is_no_token_is_refused(text: str, tmp_path: Path) -> None:
    """Before anything is asked of anybody."""
    assert "no token of OctaPi" in fetched(text, tmp_path / "got").stderr


# ---- the line


def test_the_line_runs_nothing_but_the_file_that_it_names(yard: Yard, master: Running, tmp_path: Path) -> None:
    """The whole line of a terminal: with the right hash the bootstrap speaks, with another nobody does."""
    said = yard.command("master", "token", "create", "--show", "--install")
    right = said.strip().splitlines()[-1].replace("sudo python3", f"'{sys.executable}' -I -S")
    right = right.replace("echo 'octapi1.", "echo 'octapi9.")  # so that it ends before it installs on this computer
    digest = re.search(r"=='([0-9a-f]{64})'", right)
    assert digest is not None
    wrong = right.replace(digest.group(1), "0" * 64)
    env = clean_environment() | {"HOME": str(tmp_path)}

    ran, refused = (
        subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False, env=env, timeout=60)
        for text in (right, wrong)
    )

    assert "no token of OctaPi" in ran.stderr
    assert "the master sent another file than this line names" in refused.stderr
    assert "octapi install" not in refused.stderr


def test_the_lines_secret_is_in_no_argument() -> None:
    """It comes by stdin; echo is a part of the shell."""
    token = tokens.Token(b"p" * 32, "abcdef", b"s" * 16, ("10.0.0.1:8785",)).text()
    text = install_command.make(token, "worker", "10.0.0.1:8785")

    assert text.count(token) == 1
    assert text.startswith(f"echo '{token}' | ")
    with pytest.raises(WheelProblem, match="HOST:PORT"):
        install_command.make(token, "worker", "10.0.0.1'; rm:8785")


# ---- strangers at the counter


REQUESTS = [
    b"GET /../master.sock HTTP/1.1\r\n\r\n",
    b"GET /wheels/../authority/authority.json HTTP/1.1\r\n\r\n",
    b"GET /wheels/packed.sha256 HTTP/1.1\r\n\r\n",
    b"GET //etc/passwd HTTP/1.1\r\n\r\n",
    b"GET /wheels/%2e%2e/x HTTP/1.1\r\n\r\n",
    b"POST /wheels.json HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 12000 + b"\r\n",
    b"\x00\xff" * 40 + b"\r\n\r\n",
    b"\r\n\r\n",
]


def test_strangers_get_what_is_on_the_list_and_nothing_else(master: Running, yard: Yard) -> None:
    """Whatever they say; afterwards the door lets a device in as before."""
    for data in REQUESTS:
        answer = said_by(ports_of(master)["join"], data)

        assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 404", b""), data
        assert b"PRIVATE" not in answer
    assert "red works for" in yard.worker("red", yard.token()).text()


def test_one_address_has_few_connections_at_once_and_joining_goes_on(yard: Yard, master: Running) -> None:
    """Whoever holds four gets told to wait; the door for joining counts for itself."""
    port = ports_of(master)["join"]
    context = ssl._create_unverified_context()
    context.set_alpn_protocols([enrolment_server.HTTP])
    with contextlib.ExitStack() as stack:
        for _ in range(wheel_server.MOST_OF_ONE):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            stack.enter_context(context.wrap_socket(plain)).send(b"GET /")

        assert said_by(port, b"GET /wheels.json HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 503")
        assert "red works for" in yard.worker("red", yard.token()).text()


def test_bytes_are_counted_for_each_address_and_for_all() -> None:
    """After ten minutes the count begins anew."""
    clock = [0.0]
    allowance = wheel_server.Allowance(lambda: clock[0])

    assert allowance.take("a", wheel_server.BYTES_OF_ONE)
    assert not allowance.take("a", 1)
    assert allowance.take("b", 1)
    taken = sum(allowance.take(f"c{n}", wheel_server.BYTES_OF_ONE) for n in range(40))
    assert taken == wheel_server.BYTES_OF_ALL // wheel_server.BYTES_OF_ONE - 2
    clock[0] = wheel_server.WINDOW_S + 1
    assert allowance.take("a", 1)


def test_who_does_not_offer_http_gets_the_door(master: Running) -> None:
    """The greeting comes first there, as ever."""
    assert b"cluster_id" in said_by(ports_of(master)["join"], b"\x00" * 8, ("something",))
