"""Each job of an unchanged dispy script finds the directory, environment and modules as the first did."""

import pathlib

import dispy


def compute(n):
    import json
    import os
    import signal
    import sys
    import tempfile

    seen = [
        os.environ.get("STEP"), getattr(json, "mark", None), os.path.exists("beside.txt"), "/step" in sys.path,
        signal.alarm(50), sys.modules.get("step"), "kept" in globals(), os.umask(0o777) == 0o777,
    ]  # fmt: skip
    os.environ["STEP"] = str(n)
    json.mark = n
    sys.path.append("/step")
    sys.modules["step"] = json
    globals()["kept"] = n
    os.chdir(tempfile.gettempdir())
    return seen


def setup():
    global numbers
    numbers = [1]
    return 0


def after_setup(n):
    import os

    numbers.append(n)
    seen = len(numbers), os.environ.get("STEP")
    os.environ["STEP"] = "x"
    return seen


if __name__ == "__main__":
    pathlib.Path("beside.txt").write_text("x")
    cluster = dispy.JobCluster(compute, depends=["beside.txt"])
    jobs = [cluster.submit(n) for n in range(8)]
    for job in jobs:
        seen = job()
        assert seen == [None, None, True, False, 0, None, False, False], (seen, job.exception)
    cluster.close()
    cluster = dispy.JobCluster(after_setup, setup=setup)
    jobs = [cluster.submit(n) for n in range(8)]
    for job in jobs:
        assert job() == (2, None), (job.result, job.exception)
    cluster.close()
    print("holds")
