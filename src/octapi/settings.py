"""What can be set, and the only place that reads variables of OctaPi's own from the environment.

:class:`Settings` are for everyone: defaults, then the file, then the environment, then what is passed.
:class:`ContainerSettings` say by the environment alone what a container is.  :class:`Internal` names what one process
of OctaPi tells another.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from octapi.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "OCTAPI_"
#: variables with this prefix are the only ones of OctaPi that a process for jobs inherits
SLOT_PREFIX: Final = "OCTAPI_SLOT_"
#: where OctaPi's files are, in place of ``~/.octapi``; and where a master keeps its state
HOME: Final = "OCTAPI_HOME"
STATE: Final = "OCTAPI_STATE"


class Internal:
    """Variables that one process of OctaPi sets for another; nobody else sets them."""

    #: the descriptor from which a worker reads its token, after it has cleaned its own arguments
    TOKEN_FD: Final = "OCTAPI_TOKEN_FD"
    #: the descriptor by which a worker that was started again knows the process that watches it
    WATCHED_FD: Final = "OCTAPI_WATCHED_FD"
    #: the run of a script that was handed to the master
    RUN: Final = "OCTAPI_RUN"
    #: ``unit`` where a unit of systemd runs OctaPi's sshd
    SSHD: Final = "OCTAPI_SSHD"
    #: the directory below which computations get theirs
    SLOT_HOME: Final = "OCTAPI_SLOT_HOME"
    #: the most bytes that a result may take
    SLOT_LARGEST: Final = "OCTAPI_SLOT_LARGEST"


def internal(name: str) -> str:
    """Return one of :class:`Internal`; an empty text if it is not set."""
    return os.environ.get(name, "")


def take_internal(name: str) -> str | None:
    """Return one of :class:`Internal`, and hide it from processes that this one starts; None if it is not set."""
    return os.environ.pop(name, None)


def without_own(environment: Mapping[str, str], *, but_slots: bool = False) -> dict[str, str]:
    """Return an environment without OctaPi's variables, ``but_slots`` with those for processes of jobs."""
    return {
        key: value
        for key, value in environment.items()
        if not key.startswith(PREFIX) or (but_slots and key.startswith(SLOT_PREFIX))
    }


def default_home() -> Path:
    """Return the directory that holds OctaPi's files for this user."""
    given = os.environ.get(HOME)
    return Path(given) if given else home() / ".octapi"


def home() -> Path:
    """Return this user's home; a user whom the system does not know, as in some containers, has an empty one."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def is_there(path: Path) -> bool:
    """Say whether a file is there that this user may look at."""
    try:
        return path.exists()
    except OSError:
        return False


#: where a master that root runs keeps its state; containers mount a volume there
SYSTEM_STATE = Path("/var/lib/octapi")


def state_dir() -> Path:
    """Return the directory of what the master of this device keeps: its history, outcomes that wait, submitted runs.

    ``OCTAPI_STATE`` sets it.  The scheduler works under an account that cannot pass through root's home, so root's is
    ``/var/lib/octapi``, or with another OCTAPI_HOME the directory beside that home with ``.state`` added to its name.
    """
    given = os.environ.get(STATE)
    if given:
        return Path(given)
    place = default_home()
    if not hasattr(os, "geteuid") or os.geteuid():
        return place / "state"
    return SYSTEM_STATE if place == home() / ".octapi" else place.with_name(f"{place.name}.state")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What can be set.  Each field is also a key of ``settings.toml`` and, in capitals, ``OCTAPI_<FIELD>``."""

    #: ``host:port`` of the master, or ``local``
    address: str = ""
    #: slots of a worker or of a local cluster; 0 means one for each core
    slots: int = 0
    #: seconds to look for a master before giving up
    patience_s: float = 10.0
    #: seconds to wait for a master that was there and has gone, while a script runs
    reconnect_s: float = 600.0
    #: the most megabytes that one job's arguments, and its result on a worker, may take; a master takes no more
    largest_mb: int = 1024
    #: on how many workers a job that kills its process is tried, if its retries allow it
    crash_workers: int = 2
    #: on a worker: the most megabytes that one slot may hold; 0 means no limit
    slot_memory_mb: int = 0
    #: on a worker: when fewer megabytes are free, the youngest job is stopped; 0 means a fortieth of the memory
    memory_floor_mb: int = 0
    #: show a dispy script's progress on a terminal, and the table of who did what at its end
    show: bool = False
    #: allow connections without encryption
    insecure: bool = False
    #: on a master: the most megabytes of outcomes that wait for clients that are gone
    keep_mb: int = 512
    #: on a master: how many days such outcomes wait
    keep_days: float = 7.0
    #: on a master: how many days runs and their story are remembered
    history_days: float = 365.0
    #: on a master: the most megabytes of script and files that a submitted run may bring
    upload_mb: int = 64
    #: on a master: the most megabytes that are kept of a submitted run's output
    log_mb: int = 8
    #: on a master: show the page
    page: bool = True
    #: on a master: the page's port, and the address that it listens on; by default the master's
    page_port: int = 8787
    page_listen: str = ""
    #: on a master in a container: the port under which the page's port is published; 0 for the same
    page_published: int = 0
    #: on a master: the page stands behind a reverse proxy that speaks HTTPS with browsers
    page_proxy: bool = False
    #: on a master: addresses and networks, with commas, of such proxies on other computers
    page_proxy_from: str = ""
    #: on a master: further host names, with commas and ``*``, under which browsers may ask for the page
    page_names: str = ""
    #: on a master: how many seconds after its last use the workers keep their processes for Dask's tasks
    dask_idle_s: float = 120.0
    #: on a master: start Dask's own dashboard too, behind the page's login
    dask_dashboard: bool = False
    #: of a master, a worker or an agent: from which level on it logs, and whether each record is one line of JSON
    log_level: str = "info"
    log_json: bool = False

    @classmethod
    def load(cls, **passed: object) -> Settings:
        """Read the file and the environment.  Raises :exc:`SettingsError` for a value that does not fit."""
        values: dict[str, Any] = {}
        path = default_home() / "settings.toml"
        if is_there(path) and path.is_file():
            import tomllib  # processes of jobs know this module's names, and read no file

            try:
                values.update(tomllib.loads(path.read_text(encoding="utf-8")))
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{path} cannot be read: {error}. Mend or remove it.") from error
            except tomllib.TOMLDecodeError as error:
                raise SettingsError(f"{path} is not valid TOML: {error}. Mend or remove it.") from error
        for field in dataclasses.fields(cls):
            text = variable(field.name)
            if text:
                values[field.name] = text
        values.update({key: value for key, value in passed.items() if value is not None})
        return cls(
            **{field.name: fit(field, values[field.name]) for field in dataclasses.fields(cls) if field.name in values}
        )


def fit(field: dataclasses.Field[Any], value: object) -> Any:
    """Turn a text or a TOML value into the field's type."""
    kind: Any = type(field.default)
    try:
        if kind is bool and isinstance(value, str):
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[value.lower()]
        return kind(value)
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"The setting {field.name} is {value!r}; it must be a {kind.__name__}.") from error


@dataclasses.dataclass(frozen=True)
class ContainerSettings:
    """What ``octapi start`` runs in a container.  Each field is, in capitals, ``OCTAPI_<FIELD>``, and no other place.

    They are not among :class:`Settings`, whose variables every script reads: Kubernetes gives its pods variables such
    as ``OCTAPI_PORT`` by itself, for a service of that name.
    """

    #: ``master``, ``worker`` or ``agent``
    role: str = "worker"
    #: name of the cluster, or of the worker
    name: str = ""
    #: what a worker joins with; also of ``octapi login`` and ``octapi doctor``
    token: str = ""
    #: a file through which a master gives workers a token
    share_token: str = ""
    #: addresses under which others reach this container's host
    advertise: str = ""
    #: ports of a worker that are published under the same numbers
    port: int = 0
    ssh_port: int = 8722
    #: run no Dask tasks
    no_dask: bool = False
    #: where Prometheus may read metrics, and in which directory it finds a master's token
    metrics: str = ""
    metrics_share: str = ""
    #: a node_exporter that is served through the worker's metrics
    node_exporter: str = ""
    #: 1 where others do not reach the addresses that this computer sees, 0 where they do; else it is guessed
    bridged: str = ""

    @classmethod
    def load(cls) -> ContainerSettings:
        """Read the environment.  Raises :exc:`SettingsError` for a port that is no number."""
        given = {field.name: variable(field.name) for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {name: text for name, text in given.items() if text}
        for name in ("port", "ssh_port"):
            if name in values:
                values[name] = number(name, values[name])
        if "no_dask" in values:
            values["no_dask"] = values["no_dask"] != "0"
        return cls(**values)


def variable(field: str) -> str:
    """Return what the environment says of a field; an empty text if nothing."""
    return os.environ.get(PREFIX + field.upper(), "")


def number(field: str, text: str) -> int:
    """Return a number from the environment.  Raises :exc:`SettingsError` for anything else."""
    if not text.isdigit():
        raise SettingsError(f"{PREFIX}{field.upper()} is {text!r}; it must be a number.")
    return int(text)
