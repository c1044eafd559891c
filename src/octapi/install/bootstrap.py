"""Brings OctaPi from the master that made a token to a device that has nothing but Python.

Masters serve this file; the line that ``octapi token create --install`` prints holds its SHA-256, and so runs no other:

    echo TOKEN | python3 bootstrap.py [COMMAND ...]

    1  the authority's certificate is fetched over a connection that is not trusted, and compared with the token's pin
    2  from then on only the door of this very authority is spoken to, over TLS 1.3
    3  it tells the names, sizes and SHA-256 of its wheels; those for this device are fetched and compared
    4  octapi's own wheel holds the installer, which runs next, and then ``octapi COMMAND`` with the token by stdin

The token's secret is not sent by this file, and is in no argument.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

#: how long a master may say nothing, in seconds, and how often it is asked
ANSWER_S, TRIES = 20.0, 5
#: the longest answers that are read, in bytes
LIST_LIMIT, WHEEL_LIMIT = 1 << 20, 1 << 28
#: X509_V_FLAG_NO_CHECK_TIME of OpenSSL: a device without a battery does not know the time yet
NO_CHECK_TIME = 0x200000
WHEEL = re.compile(r"[A-Za-z0-9_]+-[A-Za-z0-9_.+!]+(-\d\w*)?-([\w.]+)-([\w.]+)-([\w.]+)\.whl")
INSTALLER = "octapi/install/installer.py"


class Problem(Exception):
    """Something that the person at the device must know."""


def say(text: str) -> None:
    """Tell how it goes."""
    print(f"octapi install: {text}", file=sys.stderr, flush=True)


class Master:
    """The master that made a token: ``address`` is its ``host:port``, ``pin`` the SHA-256 of its authority's key."""

    def __init__(self, address: str, pin: bytes) -> None:
        self.address = address
        self.pin = pin
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE  # until the authority is known; see trust()
        self.context.set_alpn_protocols(["http/1.1"])

    def trust(self) -> None:
        """Get the authority's certificate, compare it with the pin, and from now on accept what it signed alone.

        Raises :exc:`Problem` when it is another, OSError when nobody answers.
        """
        text = self.get("/authority.pem", LIST_LIMIT).decode("ascii", "replace")
        certificate = pinned(text, self.pin)
        if not certificate:
            raise Problem(f"Whoever answers at {self.address} is not the master that made this token. Nothing was run.")
        self.context.load_verify_locations(cadata=certificate)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.verify_flags |= NO_CHECK_TIME

    def get(self, path: str, limit: int) -> bytes:
        """Return a file of at most ``limit`` bytes.  Raises :exc:`Problem` and OSError."""
        host, _, port = self.address.rpartition(":")
        asked = f"{self.pin.hex()[:16]}.octapi"
        with (
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_S) as plain,
            self.context.wrap_socket(plain, server_hostname=asked) as sock,
        ):
            if self.context.verify_mode == ssl.CERT_REQUIRED:
                check_role(self.address, sock.getpeercert() or {})
            connection = http.client.HTTPConnection(host)
            connection.sock = sock
            connection.request("GET", path)
            answer = connection.getresponse()
            data = answer.read(limit + 1)
        if answer.status == 503:
            raise ConnectionError(data.decode("utf-8", "replace"))
        if answer.status != 200 or len(data) > limit:
            raise Problem(f"The master at {self.address}: {data[:200].decode('utf-8', 'replace').strip()}")
        return data

    def get_patiently(self, path: str, limit: int) -> bytes:
        """Get a file, again when the connection breaks or the master is busy."""
        for number in range(1, TRIES + 1):
            try:
                return self.get(path, limit)
            except (OSError, http.client.HTTPException) as error:
                if number == TRIES:
                    raise Problem(f"The master at {self.address} did not send {path}: {error}") from error
                say(f"{path}: {error}; trying again.")
                time.sleep(number)
        raise AssertionError


def pinned(text: str, pin: bytes) -> bytes:
    """Return the one certificate (PEM) in ``text`` as DER if ``pin`` is the SHA-256 of its key; else nothing.

    What is compared is all that is returned: a second certificate behind the first would be believed unseen.
    """
    try:
        der = ssl.PEM_cert_to_DER_cert(text)
        is_alone = text.count("-----BEGIN") == 1 and element(der, 0)[2] == len(der)
        is_right = is_alone and hashlib.sha256(public_key(der)).digest() == pin
    except (ValueError, IndexError):
        return b""
    return der if is_right else b""


def public_key(certificate: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo of a certificate, both DER (RFC 5280, 4.1).  Raises ValueError, IndexError."""
    _, inside, _ = element(certificate, 0)
    _, at, end = element(certificate, inside)
    parts = []
    while at < end:
        tag, _, after = element(certificate, at)
        parts.append((tag, certificate[at:after]))
        at = after
    has_version = parts[0][0] == 0xA0
    return parts[5 + has_version][1]  # after serial number, algorithm, issuer, validity and subject


def element(der: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of the DER element at ``at``, where its content begins and where it ends."""
    tag, length, begin = der[at], der[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, begin = int.from_bytes(der[begin : begin + count], "big"), begin + count
    if begin + length > len(der):
        raise ValueError("cut short")
    return tag, begin, begin + length


def check_role(address: str, certificate: dict[str, Any]) -> None:
    """Raise :exc:`Problem` unless a certificate is the door's: workers have certificates of the same authority."""
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    if len(uris) != 1 or not re.fullmatch(r"octapi://[0-9a-f]{16}/authority/[^/]+/[0-9a-f]{16}", uris[0]):
        raise Problem(f"Whoever answers at {address} is a member of the cluster, but not its master. Nothing was run.")


def read_token(text: str) -> tuple[bytes, list[str]]:
    """Return the pin and the addresses of a token (octapi1.PIN.ID.SECRET.ADDRESSES.CHECK).  Raises :exc:`Problem`."""
    parts = text.strip().split(".")
    try:
        pin, addresses = (base64.urlsafe_b64decode(parts[n] + "=" * (-len(parts[n]) % 4)) for n in (1, 4))
        if parts[0] == "octapi1" and len(parts) == 6 and len(pin) == 32:
            return pin, [part for part in addresses.decode().split(",") if part]
    except (ValueError, IndexError):
        pass
    raise Problem("What came by stdin is no token of OctaPi. Copy the whole line again.")


def find_master(token: str) -> Master:
    """Return the master of a token, its authority checked.  Raises :exc:`Problem` with what answered."""
    pin, addresses = read_token(token)
    tried = []
    for address in addresses:
        try:
            found = Master(address, pin)
            found.trust()
            return found
        except (OSError, http.client.HTTPException, Problem) as error:
            tried.append(str(error) if isinstance(error, Problem) else f"{address}: {error}")
    raise Problem(f"The token's master was not found. {'; '.join(tried) or 'The token names no address.'}")


def machine() -> str:
    """Return this Python's machine as wheels name it; a 32-bit Python may run on a 64-bit kernel."""
    name = os.uname().machine
    return {"aarch64": "armv7l", "x86_64": "i686"}.get(name, name) if sys.maxsize < 1 << 32 else name


def may_fit(name: str, mine: str, version: tuple[int, int]) -> bool:
    """Say whether a wheel may be for this device; pip decides, this only saves downloads."""
    found = WHEEL.fullmatch(name)
    if found is None:
        return False
    python, abi, platform = found.group(2, 3, 4)
    is_python = abi in ("abi3", "none") or f"cp{version[0]}{version[1]}" in python.split(".")
    return is_python and (platform == "any" or any(part.endswith(f"_{mine}") for part in platform.split(".")))


def fetch(master: Master, target: Path) -> None:
    """Fetch the wheels for this device, each compared with its hash.  Raises :exc:`Problem`."""
    try:
        rows = json.loads(master.get_patiently("/wheels.json", LIST_LIMIT))["wheels"]
        wanted = [row for row in rows if may_fit(row["name"], machine(), sys.version_info[:2])]
        total = sum(row["size"] for row in wanted)
    except (ValueError, KeyError, TypeError) as error:
        raise Problem(f"The master at {master.address} sent a list of wheels that cannot be read: {error}.") from error
    say(f"fetching {len(wanted)} wheels, {total / 1e6:.0f} MB, from the master at {master.address}.")
    done = 0
    for row in wanted:
        data = master.get_patiently(f"/wheels/{row['name']}", min(row["size"], WHEEL_LIMIT))
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            raise Problem(f"{row['name']} is not what the master's list says. Nothing was installed.")
        (target / row["name"]).write_bytes(data)
        done += len(data)
        if sys.stderr.isatty():
            print(f"\r{done / 1e6:6.1f} of {total / 1e6:.1f} MB", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)


def main() -> None:
    """Fetch, install, and go on as a command of octapi; end with a message instead of a traceback."""
    token = sys.stdin.readline().strip()
    try:
        with tempfile.TemporaryDirectory(prefix="octapi-") as place:
            wheels = Path(place)
            fetch(find_master(token), wheels)
            with zipfile.ZipFile(next(wheels.glob("octapi-*.whl"))) as wheel:
                installer = wheel.extract(INSTALLER, place)
            done = subprocess.run([sys.executable, installer, "--wheels", place], stdin=subprocess.DEVNULL, check=False)
    except (Problem, OSError, StopIteration, KeyError, zipfile.BadZipFile) as error:
        sys.exit(f"octapi install: {error or 'the master has no wheel of octapi'}")
    except KeyboardInterrupt:
        sys.exit(130)
    if done.returncode or len(sys.argv) < 2:
        sys.exit(done.returncode)
    ours, theirs = os.pipe()
    os.write(theirs, token.encode()[:4096] + b"\n")
    os.close(theirs)
    os.dup2(ours, 0)
    program = ("/usr/local/bin" if os.geteuid() == 0 else str(Path.home() / ".local/bin")) + "/octapi"
    os.execv(program, ["octapi", *sys.argv[1:]])


if __name__ == "__main__":
    main()
