"""The example scripts are run as people run them, and their answers are checked."""

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from octapi.testing import EmbeddedCluster

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET, CRIB = "YJPYITREDSYUPIU", "THISXISXWORKING"
SEMI_PRIME, FACTORS = 1_000_036_000_099, (1_000_003, 1_000_033)

Run = Callable[..., str]


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(workers=2, slots=1) as found:
        yield found


@pytest.fixture
def run(embedded: EmbeddedCluster, tmp_path: Path) -> Run:
    """Run an example on the cluster, from another directory, and return what it printed."""

    def run_example(name: str, *arguments: object, stdin: str = "", code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
            cwd=tmp_path,
            env=dict(os.environ, OCTAPI_ADDRESS=embedded.address),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run_example


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("compute_pi_standalone.py", [200_000]),
        ("compute_pi_canonical.py", [10_000, 50]),
        ("compute_pi_efficient.py", [1_000, 1_000]),
        ("compute_pi_octapi.py", [10_000, 50]),
    ],
)
def test_pi_is_about_pi(run: Run, name: str, arguments: list[int]) -> None:
    """Darts give pi to two digits."""
    found = re.search(r"pi is about ([\d.]+)", run(name, *arguments))

    assert found is not None
    assert math.isclose(float(found[1]), math.pi, abs_tol=0.03)


@pytest.mark.parametrize("name", ["primality_canonical.py", "primality_efficient.py", "primality_octapi.py"])
@pytest.mark.parametrize("algorithm", [0, 1, 2])
def test_every_way_finds_the_same_primes(run: Run, name: str, algorithm: int) -> None:
    """Each agrees with trial division by every number up to the square root."""
    text = run(name, 1_000_000, 1_001_000, algorithm)

    sieve = [n for n in range(1_000_000, 1_001_001) if all(n % d for d in range(2, 1_001))]
    assert f"{len(sieve)} primes" in text
    assert f"{sieve[-3:]}" in text


def test_small_numbers_are_judged_rightly(run: Run) -> None:
    """0 and 1 are no primes, 2 and 3 are; Carmichael numbers below 2000 fool nobody in Miller-Rabin."""
    text = run("primality_canonical.py", 0, 2_000, 2)

    assert "303 primes" in text


def test_primality_without_a_cluster(run: Run) -> None:
    """The three tests agree."""
    text = run("primality_standalone.py", 1_000_000, 1_000_500)

    assert len(set(re.findall(r": (\d+) primes", text))) == 1


@pytest.mark.parametrize("name", ["factor_standalone.py", "factor_efficient.py", "factor_octapi.py"])
def test_a_semi_prime_is_taken_apart(run: Run, name: str) -> None:
    """Both factors are found, and a prime is recognised."""
    assert math.prod(FACTORS) == SEMI_PRIME
    assert f"{SEMI_PRIME} = {FACTORS[0]} * {FACTORS[1]}" in run(name, SEMI_PRIME)
    assert "1000003 is prime" in run(name, 1_000_003)


def test_a_semi_prime_is_made_of_two_primes(run: Run) -> None:
    """What is printed multiplies up."""
    found = re.search(r"(\d+) \* (\d+) = (\d+)", run("semi_prime_standalone.py", 4))

    assert found is not None
    assert int(found[1]) * int(found[2]) == int(found[3])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("enigma_bf_standalone.py", [SECRET, CRIB]),
        ("enigma_bf_canonical.py", [SECRET, CRIB, "1 1 1"]),
        ("enigma_bf_efficient.py", [SECRET, CRIB]),
        ("enigma_bf_octapi.py", [SECRET, CRIB]),
    ],
)
def test_the_enigma_message_is_broken(run: Run, name: str, arguments: list[str]) -> None:
    """Rotors II V III, start SCC."""
    assert "rotors II V III, rings 1 1 1, start SCC" in run(name, *arguments)


def test_bruteforce_asks_for_the_three(run: Run) -> None:
    """Lower case and spaces are understood."""
    text = run("bruteforce_octapi.py", stdin="yjpyit redsyupiu\nTHISXISXWORKING\n1 1 1\n")

    assert "rotors II V III, rings 1 1 1, start SCC" in text


def test_compute_runs_in_both_ways(run: Run) -> None:
    """The first script and its modern twin say which device did what."""
    for name in ("compute.py", "compute_octapi.py"):
        assert run(name).count("executed job") == 20


@pytest.mark.parametrize("name", ["compute_pi_canonical.py", "primality_efficient.py", "factor_octapi.py"])
def test_a_wrong_command_line_gets_the_usage(run: Run, name: str) -> None:
    """Nothing starts, and the message says how it is meant."""
    assert f"usage: {name}" in run(name, code=1)
