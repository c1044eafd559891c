"""What a device or a person's login keeps: its key, its certificate, and the authorities that it trusts."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from octapi.device import files
from octapi.errors import IdentityProblem
from octapi.trust.names import Peer

if TYPE_CHECKING:
    from pathlib import Path

#: the part of its life after which a certificate is renewed, at random, so that devices do not all call at once
RENEW_BETWEEN = (0.5, 0.8)


@dataclass(frozen=True, slots=True)
class Identity:
    """One member of a cluster.

    ``key``, ``certificate`` and ``authorities`` are PEM; ``root`` names the authority that signed; the dates are epoch
    seconds by the master's clock.  ``addresses`` are ``host:port`` of the door, ``master`` holds the ports ``clients``
    and ``dask`` of the same hosts.
    """

    cluster: str
    cluster_id: str
    role: str
    name: str
    ident: str
    key: str = field(repr=False)
    certificate: str = field(repr=False)
    authorities: tuple[str, ...] = field(repr=False)
    begins: float
    issued: float
    ends: float
    root: str = ""
    #: the socket of the master on this computer that gave it, if no token did
    desk: str = ""
    addresses: tuple[str, ...] = ()
    master: dict[str, Any] = field(default_factory=dict)
    ssh: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def peer(self) -> Peer:
        """Return how others see it."""
        return Peer(self.cluster_id, self.role, self.name, self.ident)

    def renew_at(self) -> float:
        """Return when to renew it, in epoch seconds; the moment is fixed by the certificate itself."""
        share = random.Random(self.certificate).uniform(*RENEW_BETWEEN)
        return self.issued + share * (self.ends - self.issued)

    def to_json(self) -> str:
        """Write it down.  The text holds the key."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Identity:
        """Read what :meth:`to_json` wrote.  Raises :exc:`IdentityProblem` for anything else."""
        try:
            plain = json.loads(text)
            known = {entry.name: plain[entry.name] for entry in fields(cls) if entry.name in plain}
            known["authorities"] = tuple(known["authorities"])
            known["addresses"] = tuple(known.get("addresses", ()))
            return cls(**known)
        except (ValueError, TypeError, KeyError) as error:
            raise IdentityProblem("This is not an identity of OctaPi.") from error

    def with_answer(self, answer: dict[str, Any]) -> Identity:
        """Return it with what the authority answered to a join, a renewal or a call."""
        known = {entry.name for entry in fields(self)} - {"key"}
        news = {key: value for key, value in answer.items() if key in known}
        for key in ("authorities", "addresses"):
            if key in news:
                news[key] = tuple(news[key])
        return replace(self, **news)


def load(path: Path) -> Identity | None:
    """Read an identity; None if there is none.  Raises :exc:`IdentityProblem` when it is damaged or open to others."""
    try:
        return Identity.from_json(files.read(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IdentityProblem(f"The identity in {path} cannot be read: {error}.") from error
    except IdentityProblem as error:
        raise IdentityProblem(f"{path}: {error}") from error


def save(path: Path, identity: Identity) -> None:
    """Keep an identity, mode 0600."""
    files.write(path, identity.to_json())
