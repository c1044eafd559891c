"""What numbers mean, in words: badges of workers, and one sentence on how well a run used the cluster."""

from __future__ import annotations

from typing import Any, Final

from octapi.text.units import rough_time, work_time

#: levels of badges, from bad to good
ALARM, WARN, NOTE = "alarm", "warn", "note"
HOT_C: Final = 80.0
WARM_C: Final = 70.0
SILENT_S: Final = 12.0
CLOCK_S: Final = 5.0
LITTLE_MEMORY: Final = 0.08
LITTLE_DISK: Final = 200e6
#: below this a job is so short that its way costs more than itself, in seconds
SHORT_S: Final = 0.001


def badges(row: dict[str, Any], now: float) -> list[list[str]]:
    """Return what is wrong with a worker as ``[level, kind, words]``, the worst first."""
    health: dict[str, float] = row.get("health") or {}
    found = []
    if health.get("undervoltage"):
        found.append([ALARM, "power", "under-voltage: use a stronger supply or a shorter cable"])
    heat = health.get("temperature")
    if heat is not None and heat >= WARM_C:
        is_hot = heat >= HOT_C
        words = f"{heat:.0f} °C, slows itself down: cool it" if is_hot else f"warm, {heat:.0f} °C"
        found.append([ALARM if is_hot else WARN, "heat", words])
    silent = now - float(row.get("heard") or now)
    if silent > SILENT_S:
        found.append([WARN, "network", f"silent for {silent:.0f} s: is its network well?"])
    ahead = health.get("clock_ahead_s", 0.0)
    if abs(ahead) > CLOCK_S:
        found.append([WARN, "clock", f"its clock is {rough_time(abs(ahead))} {'ahead' if ahead > 0 else 'behind'}"])
    memory = row.get("memory") or 0
    if memory and health.get("memory", memory) < LITTLE_MEMORY * memory:
        found.append([WARN, "memory", f"only {health['memory'] / 1e6:,.0f} MB of memory free"])
    if health.get("disk", LITTLE_DISK) < LITTLE_DISK:
        found.append([WARN, "disk", f"only {health['disk'] / 1e6:,.0f} MB of disk free"])
    if row.get("state") in ("draining", "drained"):
        words = "takes no new jobs, and finishes those it has" if row["state"] == "draining" else "takes no new jobs"
        found.append([NOTE, "drain", f"drained: {words}"])
    return sorted(found, key=lambda badge: (ALARM, WARN, NOTE).index(badge[0]))


def sentence(facts: dict[str, Any]) -> str:
    """Explain a run's speed-up and efficiency in one sentence.

    ``facts`` hold ``busy_s``, ``wall_s``, ``slots``, ``finished``, ``failed``, ``used`` (slots that worked at least a
    little) and ``tail_s`` (how long less than half of the slots worked at the end).
    """
    busy, wall, slots = facts["busy_s"], facts["wall_s"], max(facts["slots"], 1)
    jobs = facts["finished"]
    if not jobs or wall <= 0:
        return "No job has ended yet."
    speedup = busy / wall
    efficiency = speedup / slots
    begin = f"{slots} slots did {work_time(busy)} of work in {work_time(wall)}"
    start = f"{begin}: {speedup:.1f} times as fast as one core"
    if efficiency >= 0.8:
        return f"{start}, and {efficiency:.0%} of what is possible."
    return f"{start}, {efficiency:.0%} of what is possible, because {reason(facts, slots)}."


def reason(facts: dict[str, Any], slots: int) -> str:
    """Return the likeliest reason why slots were idle."""
    jobs, wall = facts["finished"], facts["wall_s"]
    if facts["failed"] > jobs / 2:
        return "most jobs failed early"
    if jobs < slots:
        return f"there were fewer jobs ({jobs:,}) than slots; split the work into more"
    if facts["busy_s"] / jobs < SHORT_S:
        return "the jobs are so short that bringing them costs more than doing them; give each more to do"
    if facts.get("tail_s", 0.0) > 0.2 * wall:
        return f"at the end a few slots worked alone for {work_time(facts['tail_s'])}; start the longest jobs first"
    if facts.get("used", slots) < slots:
        return f"only {facts['used']} of the {slots} slots were given jobs"
    return "jobs waited for the script, for other scripts or for the network"
