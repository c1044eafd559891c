"""When its master is gone a script is told: jobs that ran, and those submitted later, end with an error that says so."""

import os
import time

os.environ["OCTAPI_RECONNECT_S"] = "2"

import octapi
from octapi.testing import EmbeddedCluster


def until(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


with EmbeddedCluster(workers=1, slots=1) as embedded:
    cluster = octapi.Cluster(embedded.address)
    assert cluster.submit(abs, -1).result(60) == 1
    running = cluster.submit(time.sleep, 100)
    until(running.running, "it did not start")
    mapping = cluster.map(time.sleep, [100, 100])
    embedded.processes[0].kill()
    error = running.exception(100)
    assert isinstance(error, octapi.OctapiError), error
    assert "master" in str(error).lower(), error
    try:
        later = cluster.submit(abs, -2).exception(100)
    except octapi.OctapiError as refused:
        later = refused
    assert isinstance(later, octapi.OctapiError), later
    assert not isinstance(later, TimeoutError), later
    try:
        list(mapping)
    except octapi.OctapiError as lost:
        assert not isinstance(lost, TimeoutError), lost
    else:
        raise AssertionError("the map went on")
    cluster.shutdown()
print("holds")
