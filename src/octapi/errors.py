"""Every error OctaPi raises, in one tree.

OctapiError
├── ClusterError            the cluster, or the way to it
│   ├── MasterNotFound
│   ├── MasterLost
│   ├── VersionMismatch
│   ├── InsecureRefused
│   ├── MessageRefused      what another process said is not what it may say (also ValueError)
│   ├── RunError            a run that is not there, is somebody else's, or cannot be started
│   ├── ClusterClosed       (also RuntimeError, as concurrent.futures raises)
│   │   └── ClusterForked   the cluster belongs to the process that this one was forked from
│   ├── AddressError        an address, or a number of slots, that cannot be used (also ValueError)
│   ├── StillWaiting        a job is not done within the time given, and what it waits for (also TimeoutError)
│   ├── WorkerNotFound      no worker of that name is there (also LookupError)
│   └── TrustError          who may do what
│       ├── TokenRefused
│       │   ├── TokenUnknown    it is one that nobody made
│       │   └── TooManyAttempts wrong ones came from there too often
│       ├── IdentityProblem
│       ├── NotAMember
│       ├── PeerRefused
│       └── RoleRefused     (also PermissionError)
├── ActionFailed            what was to be done to devices failed on some of them
├── WheelProblem            wheels for devices that cannot be made or fetched
├── ServiceProblem          systemd cannot run OctaPi here
├── SettingsError           a setting that cannot be used (also ValueError)
├── StateError              what the master keeps on disk cannot be read or written
├── OptionError             an option of a job that cannot be used (also ValueError)
│   └── OptionTypeError     it is unknown or of another type (also TypeError)
├── DispyError              an argument that the dispy layer cannot use
└── JobError                one job; the other jobs go on
    ├── JobNotSent          its arguments cannot be pickled
    ├── JobCrashed          its process died
    ├── JobExited           it called sys.exit
    ├── JobTimeout          its time limit passed (also TimeoutError)
    ├── JobStopped          it was cancelled while it ran
    ├── WorkerLost          its worker went away too often
    ├── OutputTooLarge      it printed more than the limit
    ├── ResultTooLarge      its result is larger than the limit
    ├── ResultNotPicklable  its result cannot travel
    ├── FileNotWritten      a file that it sent home cannot be written here
    ├── BatchRefused        its worker or the master cannot use what was sent
    ├── HandlingFailed      an error of OctaPi's own, or of what it called, while it handled the job
    ├── SetupFailed         the computation could not be prepared on any worker
    └── PythonMismatch      its bytecode needs another Python
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple, TypeVar


class OctapiError(Exception):
    """The base of all errors of OctaPi."""


class ClusterError(OctapiError):
    """Something about the cluster, or about the way to it, is wrong."""


class MasterNotFound(ClusterError):
    """No master answered at the address that was given."""


class MasterLost(ClusterError):
    """The connection to the master broke and did not come back."""


class VersionMismatch(ClusterError):
    """The other side speaks another version of the wire protocol."""


class InsecureRefused(ClusterError):
    """A connection without encryption was asked for without ``--insecure``."""


class MessageRefused(ClusterError, ValueError):
    """What another process or computer said has not the type, the size or the range that it must have."""


class ClusterClosed(ClusterError, RuntimeError):
    """A job was submitted after the cluster had been shut down."""


class ClusterForked(ClusterClosed):
    """The cluster belongs to the process that this one was forked from."""


class AddressError(ClusterError, ValueError):
    """An address of a master, or a number of slots, cannot be used."""


class StillWaiting(ClusterError, TimeoutError):
    """A job was not done within the time given to ``result`` or ``exception``; the message says what it waits for."""


class WorkerNotFound(ClusterError, LookupError):
    """No worker of that name is there, and the job was not to wait for it."""


class ActionFailed(OctapiError):
    """Something that was to be done to devices failed on some of them."""


class TrustError(ClusterError):
    """Something about keys, certificates, tokens or roles is not as it must be."""


class TokenRefused(TrustError):
    """A join token is damaged, wrong, expired, used up or revoked, or the name it was used for is taken."""


class TokenUnknown(TokenRefused):
    """A join token, or its secret, is wrong: what a guess would look like, so the master counts these."""


class TooManyAttempts(TokenRefused):
    """A wrong token, after too many from one address, or from everywhere; ``wait_s`` says how long to wait."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class IdentityProblem(TrustError):
    """An identity on disk is damaged or open to others, or belongs to another cluster."""


class NotAMember(TrustError):
    """This device has no identity in the cluster, or was removed from it."""


class PeerRefused(TrustError):
    """The other side of a connection is not who it must be."""


class RoleRefused(TrustError, PermissionError):
    """The role of a certificate does not allow the operation."""


class WheelProblem(OctapiError):
    """The wheels for devices could not be made, fetched or named."""


class ServiceProblem(OctapiError):
    """systemd cannot run OctaPi on this device, or this user may not tell it to."""


class SettingsError(OctapiError, ValueError):
    """A setting has a value that cannot be used."""


class OptionError(OctapiError, ValueError):
    """An option of a job has a value that cannot be used."""


class OptionTypeError(OptionError, TypeError):
    """An option of a job is unknown, or of a type that cannot be used."""


class StateError(OctapiError):
    """What the master keeps on disk cannot be read or written."""


class RunError(ClusterError):
    """A run is not there, belongs to somebody else, or cannot be started."""


class DispyError(OctapiError):
    """An argument of the dispy layer cannot be used; dispy itself raises plain Exception there."""


class Attempt(NamedTuple):
    """One start of a job that came to nothing: where, why, and when it ended (epoch seconds)."""

    worker: str
    cause: str
    ended: float

    def __str__(self) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(self.ended))
        return f"on {self.worker or 'an unknown worker'} until {clock}: {self.cause}"


class JobError(OctapiError):
    """One job failed for a reason that is not an exception of its function.

    ``function`` is its name, ``arguments`` a shortened text of them, ``worker`` the name of
    the device that ran it, and ``stderr`` the last lines its process wrote there.  ``attempts`` are its starts, the
    last one included, when it was started more than once.
    """

    attempts: tuple[Attempt, ...] = ()

    def __init__(
        self, message: str, *, function: str = "", arguments: str = "", worker: str = "", stderr: str = ""
    ) -> None:
        super().__init__(message)
        self.function = function
        self.arguments = arguments
        self.worker = worker
        self.stderr = stderr

    def __str__(self) -> str:
        """Say what happened, to which call, where, and what its process last wrote."""
        text = str(self.args[0]) if self.args else type(self).__name__
        if self.function:
            text = f"{self.function}({self.arguments}): {text}"
        if self.worker:
            text = f"{text} [worker {self.worker}]"
        if len(self.attempts) > 1:
            text = f"{text}\nIt was started {len(self.attempts)} times:"
            text += "".join(f"\n  {attempt}" for attempt in self.attempts)
        if self.stderr:
            text = f"{text}\nLast lines of its stderr:\n{self.stderr}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the keyword-only facts too."""
        return type(self)._rebuild, (type(self), self.args, dict(self.__dict__))

    @staticmethod
    def _rebuild(cls: type[JobError], args: tuple[Any, ...], facts: dict[str, Any]) -> JobError:
        error = cls(*args)
        error.__dict__.update(facts)
        return error


class JobNotSent(JobError):
    """The job's arguments cannot be pickled, so it was never sent."""


class JobCrashed(JobError):
    """The job's process died: a signal, ``os._exit``, or the kernel's out-of-memory killer.

    ``signal`` and ``exit_code`` are what the operating system reported; one of them is None.  ``memory`` is the most
    that its process held, in bytes, and ``is_out_of_memory`` says whether that was why.
    """

    signal: int | None = None
    exit_code: int | None = None
    memory: int = 0
    is_out_of_memory: bool = False


class JobExited(JobError):
    """The job called ``sys.exit`` (or raised SystemExit)."""


class JobTimeout(JobError, TimeoutError):
    """The job ran longer than its ``timeout_s`` and was stopped."""


class JobStopped(JobError):
    """The job was cancelled while it ran, and its process was stopped."""


class WorkerLost(JobError):
    """The worker went away while it had the job, more often than the job's retries allow."""


class OutputTooLarge(JobError):
    """The job printed more than the limit for one job."""


class ResultTooLarge(JobError):
    """The job's result is larger than the limit for one result on its worker."""


class ResultNotPicklable(JobError):
    """The job's result, or the exception it raised, cannot be pickled or unpickled."""


class FileNotWritten(JobError):
    """A file that the job sent home cannot be written here; the message names the path."""


class BatchRefused(JobError):
    """The job's worker, or the master, cannot use what was sent for it; the message names the field."""


class HandlingFailed(JobError):
    """Something failed in OctaPi itself, or in what it called, while it handled the job; the traceback is told."""


class SetupFailed(JobError):
    """The computation could not be loaded or set up on any worker."""


class PythonMismatch(JobError):
    """The job travels as bytecode and no worker runs the same Python minor version."""


class RemoteTraceback(Exception):
    """The traceback of a job's exception on its worker, as text; it is that exception's cause."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        """Print the text below the local traceback, as concurrent.futures does."""
        return f'\n"""\n{self.text}"""'


E = TypeVar("E", bound=OctapiError)


def by_name(name: object, base: type[E], otherwise: type[E] | None = None) -> type[E]:
    """Return the error of this name that another process told; one below ``base``, or else ``otherwise``.

    Without ``otherwise`` it is ``base`` itself.
    """
    kind = globals().get(str(name))
    return kind if isinstance(kind, type) and issubclass(kind, base) else otherwise or base
