"""Processes that a job has started end with it, whether it is cancelled, timed out, crashes or returns."""

import os
import pathlib
import time

import octapi


def waits(tag):
    import subprocess

    subprocess.run(["sleep", tag])


def waits_apart(tag):
    import subprocess

    subprocess.run(["sleep", tag], start_new_session=True)


def deep(tag):
    import subprocess

    subprocess.run(["sh", "-c", f"sh -c 'sleep {tag}; true'; true"])


def leaves(tag):
    import subprocess

    subprocess.Popen(["sleep", tag], start_new_session=True)
    return tag


def crashes(tag):
    import subprocess

    subprocess.Popen(["sleep", tag])
    os._exit(1)


def running(tag):
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
        except OSError:
            continue
        if words[:2] == ["sleep", tag]:
            found.append(path.parent.name)
    return found


def until(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


with octapi.Cluster() as cluster:
    for number, (fn, way) in enumerate(
        (
            (waits, "cancel"),
            (waits_apart, "cancel"),
            (deep, "cancel"),
            (waits, "limit"),
            (waits_apart, "limit"),
            (leaves, ""),
            (crashes, ""),
        )
    ):
        tag = f"{os.getpid()}{number}"
        job = cluster.options(timeout_s=1.5 if way == "limit" else None, retries=0).submit(fn, tag)
        if way == "cancel":
            until(lambda: running(tag), f"{fn.__name__} did not start")
            assert job.cancel()
        elif way == "limit":
            assert isinstance(job.exception(60), octapi.JobTimeout), job.exception()
        elif fn is leaves:
            assert job.result(60) == tag
        else:
            assert isinstance(job.exception(60), octapi.JobCrashed), job.exception()
        until(lambda: not running(tag), f"{fn.__name__}, {way}: {running(tag)} go on")
    assert cluster.submit(abs, -1).result(60) == 1
print("holds")
