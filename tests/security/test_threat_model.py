"""The threat model promises nothing without an attack that proves it."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

from tests.security.attacks import ATTACKS
from tests.security.table import WHO, attacker

MODEL = Path(__file__).parents[2] / "docs" / "explanation" / "threat-model.md"


def test_every_row_that_the_threat_model_names_is_an_attack() -> None:
    """A star stands for several."""
    brackets = re.findall(r"\[rows?: (.*?)\]", MODEL.read_text(encoding="utf-8"), re.DOTALL)
    rows = [re.sub(r"\s+", " ", row) for part in brackets for row in re.findall(r"`(.*?)`", part, re.DOTALL)]

    assert len(brackets) >= 7
    missing = [row for row in rows if not any(fnmatchcase(name, row) for name in ATTACKS)]
    assert not missing


def test_attacks_are_known_by_who_attacks() -> None:
    """Every kind of attacker tries something."""
    assert {attacker(name) for name in ATTACKS} == set(WHO)
