"""What a job does to its process reaches no later job, in single jobs, batches and maps."""

import pathlib

import octapi


def leave(n):
    import builtins
    import json
    import locale
    import logging
    import os
    import signal
    import sys
    import tempfile
    import threading
    import time
    import warnings

    os.environ["LEFT"] = "behind"
    signal.alarm(1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.path.insert(0, "/left")
    sys.argv[:] = ["left"]
    sys.setrecursionlimit(400)
    sys.left = json.left = builtins.left = n
    locale.setlocale(locale.LC_ALL, "C")
    logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))
    logging.getLogger().setLevel(1)
    warnings.simplefilter("error")
    tempfile.tempdir = "/left"
    time.sleep = len
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    with tempfile.TemporaryDirectory(dir="/tmp") as gone:
        os.chdir(gone)
    os.umask(0o777)
    sys.stdout = open(os.devnull, "w")
    print("nobody sees it")
    return n


def look(n):
    import builtins
    import json
    import logging
    import os
    import signal
    import sys
    import tempfile
    import threading
    import time
    import warnings

    pathlib.Path("beside.txt").read_text()
    seen = {
        "environment": os.environ.get("LEFT"),
        "umask": os.umask(0o22) == 0o777,
        "signals": signal.getsignal(signal.SIGTERM) == signal.SIG_IGN,
        "alarm": signal.alarm(0),
        "path": "/left" in sys.path,
        "arguments": sys.argv == ["left"],
        "recursion": sys.getrecursionlimit() == 400,
        "attributes": [hasattr(place, "left") for place in (sys, json, builtins)] != [False] * 3,
        "logging": any(getattr(h, "stream", 0) is sys.stdout for h in logging.getLogger().handlers),
        "warnings": warnings.filters[0][0] == "error",
        "temporary": tempfile.tempdir == "/left",
        "sleep": time.sleep is len,
        "threads": threading.active_count() > 1,
    }
    print("seen", n)
    return [name for name, found in seen.items() if found]


def both(n):
    return look(n) if n % 4 else leave(n)


pathlib.Path("beside.txt").write_text("x")
with octapi.Cluster() as cluster:
    calls = cluster.options(files="beside.txt")
    for n in range(4):
        calls.submit(leave, n).result(60)
    looks = [calls.submit(look, n) for n in range(6)]
    assert [job.result(60) for job in looks] == [[]] * 6, [job.result() for job in looks]
    assert [job.stdout for job in looks] == [f"seen {n}\n" for n in range(6)], [job.stdout for job in looks]

    mixed = [calls.submit(both, n) for n in range(16)]
    assert [job.result(60) for n, job in enumerate(mixed) if n % 4] == [[]] * 12, [job.result() for job in mixed]
    mapped = list(calls.map(both, range(16)))
    assert [found for n, found in enumerate(mapped) if n % 4] == [[]] * 12, mapped
print("holds")
