"""What a container may use, from files as version 1 and 2 of control groups have them."""

from pathlib import Path

import pytest

from octapi.device import limits

V2 = {
    "cpu.max": "50000 100000",
    "memory.max": "536870912",
    "memory.current": "200000000",
    "memory.stat": "anon 5\nfile 7\ninactive_file 50000000\n",
    "memory.events": "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\n",
}
V1 = {
    "cpu/cpu.cfs_quota_us": "150000",
    "cpu/cpu.cfs_period_us": "100000",
    "memory/memory.limit_in_bytes": "536870912",
    "memory/memory.usage_in_bytes": "200000000",
    "memory/memory.stat": "cache 4\ninactive_file 1\ntotal_inactive_file 50000000\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
}


def place(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(("files", "quota"), [(V2, 0.5), (V1, 1.5)])
def test_both_versions_of_control_groups_are_read(tmp_path: Path, files: dict[str, str], quota: float) -> None:
    """Cores, memory, what of it is free, and how often the kernel killed."""
    root = place(tmp_path, files)
    nowhere = tmp_path / "none"

    assert limits.cpu_quota(root) == quota
    assert limits.memory_total(8_000_000_000, root) == 536_870_912
    assert limits.memory_free(8_000_000_000, root) == 536_870_912 - 150_000_000
    assert limits.memory_free(1_000, root) == 1_000
    assert limits.memory_kills(root, nowhere) == 2


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu.max": "max 100000", "memory.max": "max"},
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        {"memory/memory.limit_in_bytes": "9223372036854771712"},
    ],
)
def test_without_limits_the_device_counts(tmp_path: Path, files: dict[str, str]) -> None:
    """Where there are no control groups, or none with limits."""
    root = place(tmp_path, files)

    assert limits.cpu_quota(root) is None
    assert limits.memory_total(8_000_000_000, root) == 8_000_000_000
    assert limits.memory_free(1_000, root) == 1_000
    assert limits.memory_kills(root, tmp_path / "none") == 0


def test_half_a_core_is_one_slot(tmp_path: Path) -> None:
    """A worker without a slot would be of no use."""
    assert limits.cores(place(tmp_path, V2)) == 1
