"""Whether a master can work with a cluster's identity: what a backup holds may be damaged, or made by somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm

from octapi.errors import IdentityProblem, MessageRefused, TrustError
from octapi.protocol.checked import boolean, integer, json_object, listing, mapping, maybe, moment, number, record, text
from octapi.protocol.specs import NAME
from octapi.trust import certificates
from octapi.trust.names import HEX, check_name

if TYPE_CHECKING:
    from octapi.trust.authority import Root, State

PEM: Final = text(20_000)
IDENT: Final = text(16, HEX)
TOKEN_ROW: Final = record(
    {
        "ident": text(20), "hash": text(64), "role": text(20), "pattern": text(200), "created": moment, "ends": moment,
        "uses": maybe(integer(0, 1 << 31)), "revoked": boolean, "used_by": listing(text(63), 1_000_000),
        "is_shared": boolean,
    }
)  # fmt: skip
MEMBER_ROW: Final = record(
    {
        "ident": IDENT, "name": text(63, NAME), "role": text(20), "since": moment, "renewed": moment, "ends": moment,
        "issuer": IDENT, "address": text(300), "removed": maybe(moment), "ssh_key": text(2000),
        "tokens": listing(text(20), 1000), "left": boolean,
    }
)  # fmt: skip
#: what a state holds as JSON
STATE: Final = record(
    {
        "cluster": text(63, NAME), "cluster_id": IDENT, "ssh_key": PEM, "life_s": number(60, 1e10), "floor": moment,
        "roots": listing(
            record(
                {"ident": IDENT, "key": PEM, "certificate": PEM, "retired": boolean,
                 "server": maybe(record({"key": PEM, "certificate": PEM}))}
            ), 100,
        ),
        "ledger": record({
            "tokens": mapping(text(20), TOKEN_ROW, 1_000_000), "members": mapping(IDENT, MEMBER_ROW, 1_000_000),
        }),
    }
)  # fmt: skip


def check(state: State) -> None:
    """Raise :exc:`IdentityProblem` with what is wrong."""
    try:
        STATE(json_object(state.to_json()))
        check_name(state.cluster)
        if not state.roots:
            raise TrustError("it has no key")
        for root in state.roots:
            check_root(root)
        certificates.ssh_public(state.ssh_key)
        rows = [(ident, row.ident) for ident, row in state.ledger.tokens.items()]
        rows += [(ident, row.ident) for ident, row in state.ledger.members.items()]
        if any(ident != own for ident, own in rows):
            raise TrustError("its list of members does not fit together")
    except (TrustError, MessageRefused, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityProblem(f"it is damaged ({error}).") from error


def check_root(root: Root) -> None:
    """Raise :exc:`TrustError` or ValueError unless a key and its certificate belong together."""
    pairs = [(root.key, root.certificate)]
    if root.server is not None:
        pairs.append((root.server["key"], root.server["certificate"]))
    for key, certificate in pairs:
        if certificates.pin_of_key(certificates.load_key(key)) != certificates.pin_of(certificate):
            raise TrustError("a key and its certificate do not belong together")
    if certificates.authority_id(root.certificate) != root.ident:
        raise TrustError("a key has another name than its own")
