"""What ordinary programs do with sys.stdout and sys.stderr works in a job, and what they write arrives."""

import octapi


def buffer():
    import sys

    sys.stdout.buffer.write(b"bytes\n")
    sys.stdout.buffer.flush()


def reconfigured():
    import sys

    sys.stdout.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)
    print("reconfigured")


def for_a_child():
    import subprocess
    import sys

    subprocess.run(["echo", "child"], stdout=sys.stdout, check=True)


def with_faulthandler():
    import faulthandler
    import sys

    faulthandler.enable()
    faulthandler.dump_traceback(sys.stdout)


def names():
    import sys

    print(sys.stdout.name, sys.stderr.name, sys.stdout.fileno(), sys.stdout.encoding.lower(), sys.stdout.isatty())


def wrapped_again():
    import io
    import sys

    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
    print("wrapped é")


def redirected():
    import contextlib
    import io
    import sys

    with contextlib.redirect_stdout(io.StringIO()) as caught:
        print("caught")
    with contextlib.redirect_stdout(sys.stderr):
        print("elsewhere")
    print(caught.getvalue().strip(), "kept")


def original():
    import sys

    print("to the original", file=sys.__stdout__)


def unbuffered():
    with open(1, "w", closefd=False) as out:
        out.write("by number\n")


def detached():
    import sys

    raw = sys.stdout.detach()
    raw.write(b"detached\n")
    raw.flush()


def no_text():
    import os

    os.write(1, b"\xff\xfe\n")
    print("\udcff surrogate \u2713")


WANTED = {
    buffer: "bytes", reconfigured: "reconfigured", for_a_child: "child", with_faulthandler: "in with_faulthandler",
    names: "<stdout> <stderr> 1 utf-8 False", wrapped_again: "wrapped é", redirected: "caught kept",
    original: "to the original", unbuffered: "by number", detached: "detached", no_text: "\u2713",
}  # fmt: skip
with octapi.Cluster() as cluster:
    jobs = {fn: cluster.submit(fn) for fn in WANTED}
    for fn, job in jobs.items():
        assert job.exception(60) is None, (fn.__name__, job.exception())
        assert WANTED[fn] in job.stdout, (fn.__name__, job.stdout, job.stderr)
    assert "elsewhere" in jobs[redirected].stderr, jobs[redirected].stderr
    assert cluster.submit(names).result(60) is None
print("holds")
