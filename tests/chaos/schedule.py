"""Which fault happens when: random, but the same for the same seed."""

import random
from typing import NamedTuple

#: kinds of faults, how often each is drawn, and how long each lasts, in seconds
KINDS = {
    "worker killed": (4, 3.0),
    "worker frozen": (2, 25.0),
    "worker cut 5 s": (3, 5.0),
    "worker cut 60 s": (1, 60.0),
    "worker flapping": (2, 20.0),
    "client cut 5 s": (2, 5.0),
    "client cut 60 s": (1, 60.0),
    "master killed": (2, 4.0),
    "slot killed": (6, 0.0),
    "slot frozen": (1, 0.0),
}
#: the shortest and the longest time between two faults, in seconds
PAUSE_S = (2.0, 12.0)


class Fault(NamedTuple):
    """One fault: when it begins (seconds after the start), for how long, and to which worker if to one."""

    at: float
    kind: str
    lasts: float
    worker: int


def schedule(seed: int, seconds: float, workers: int, quick: bool = False) -> list[Fault]:
    """Draw the faults of ``seconds`` seconds; a ``quick`` one has none that lasts a minute."""
    chance = random.Random(seed)
    kinds = [kind for kind, (_, lasts) in KINDS.items() if not (quick and lasts > 30)]
    weights = [KINDS[kind][0] for kind in kinds]
    first = chance.sample(kinds, len(kinds))
    found: list[Fault] = []
    at = 3.0
    while at < seconds:
        kind = first.pop() if first else chance.choices(kinds, weights)[0]
        found.append(Fault(at, kind, KINDS[kind][1], chance.randrange(workers)))
        at += chance.uniform(*PAUSE_S) + (KINDS[kind][1] if quick else min(KINDS[kind][1], 10.0))
    return found
