"""A run through every kind of fault tells the same outcomes as a run without any."""

import faulthandler
import os

import pytest

from tests.chaos.fault_injector import Orchestra
from tests.chaos.schedule import schedule
from tests.chaos.workload import CYCLE
from tests.netns import can_make_rooms

if not can_make_rooms():
    assert not os.environ.get("CI"), "CI must run as root and have iproute2 and iptables"
    pytest.skip("network namespaces need root, iproute2 and iptables", allow_module_level=True)

SECONDS = 110.0
SEED = 7


@pytest.mark.timeout(420)
def test_outcomes_are_the_same_through_all_faults() -> None:
    """Each job has one outcome, the right one; nobody is left over, and every slot is free again."""
    faulthandler.cancel_dump_traceback_later()  # it takes longer than a test that hangs
    with Orchestra() as orchestra:
        right = orchestra.run("without", CYCLE, 0.0, [])
        faults = schedule(SEED, SECONDS - 25, len(orchestra.names), quick=True)
        told = orchestra.run("with", CYCLE, SECONDS, faults)
        orchestra.rest()
        left = orchestra.stop()

    assert (right.duplicated, right.missing) == (0, 0)
    assert (told.duplicated, told.missing) == (0, 0)
    assert told.wrong(right, CYCLE) == []
    assert told.twice == []
    assert sum(orchestra.injected.values()) >= 6
    assert left == []
