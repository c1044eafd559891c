"""Each wrong address or number of slots gives one clear error, and in good time."""

import os

os.environ["OCTAPI_PATIENCE_S"] = "1"

import octapi

ADDRESSES = (
    "127.0.0.1:abc", "127.0.0.1:99999", ":1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:-5", "http://127.0.0.1:1", "Local ",
    "tcp://127.0.0.1:1", "nowhere.invalid:8786", "[::1]:1", "127.0.0.1:1", " 127.0.0.1:1 ", "a b", "no/such/file.json",
    ("127.0.0.1", 1), b"local", 1.5, object(),
)  # fmt: skip
works = 0
for address in ADDRESSES:
    try:
        cluster = octapi.Cluster(address)
    except octapi.OctapiError as error:
        assert str(error), address
        assert "Traceback" not in str(error), error
    except (TypeError, ValueError) as error:
        assert isinstance(error, octapi.OctapiError) or not isinstance(address, str), (address, error)
    else:
        works += 1
        cluster.shutdown()
assert works <= 1, works
for slots in (0, -1, "2", 1.5, "many", [1]):
    try:
        cluster = octapi.Cluster("local", slots=slots)
    except (octapi.OctapiError, TypeError, ValueError) as error:
        assert "slots" in str(error) or "max_workers" in str(error), (slots, error)
    else:
        cluster.shutdown()
        raise AssertionError(f"slots={slots!r} was taken")
for slots in (1, 3):
    with octapi.Cluster("local", slots=slots) as cluster:
        assert [worker.slots for worker in cluster.workers()] == [slots]
        assert cluster.submit(abs, -1).result(60) == 1
print("holds")
