"""Exceptions of the script's own classes come back as themselves, by submit and by map, with what they hold."""

import threading
import traceback

import octapi


class Simple(Exception):
    pass


class Two(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code} means {text}")
        self.code = code


class Named(Exception):
    def __init__(self, *, code):
        super().__init__(f"code {code}")
        self.code = code


class Silent(Exception):
    def __init__(self, code):
        self.code = code

    def __str__(self):
        return f"silent {self.code}"


class Locked(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()
        self.code = 9


class Deep(BaseException):
    pass


class Both(Simple, KeyError):
    pass


def simple():
    raise Simple("plain words")


def two():
    raise Two(5, "bad")


def named():
    raise Named(code=7)


def silent():
    raise Silent(8)


def locked():
    raise Locked("it holds a lock")


def deep():
    raise Deep("no Exception")


def both():
    raise Both("two bases")


def chained():
    try:
        {}["key"]
    except KeyError as error:
        raise Simple("outer") from error


def during():
    try:
        two()
    except Two:
        raise Simple("second")


def noted():
    error = Simple("noted")
    error.add_note("look here")
    raise error


def grouped():
    raise ExceptionGroup("several", [ValueError("one"), Two(6, "inside")])


def stops():
    raise StopIteration("the end")


def interrupts():
    raise KeyboardInterrupt("by itself")


def closes():
    raise GeneratorExit("closed")


def no_text():
    b"\xff".decode()


def no_file():
    open("nowhere.txt")


def child():
    import subprocess

    subprocess.run(["sh", "-c", "exit 3"], check=True)


def asserts():
    assert [1] == [2], "not equal"


CALLS = [
    (simple, Simple, "plain words"), (two, Two, "5 means bad"), (named, Named, "code 7"), (silent, Silent, "silent 8"),
    (locked, Locked, "it holds a lock"), (deep, Deep, "no Exception"), (both, Both, "two bases"),
    (chained, Simple, "KeyError"), (during, Simple, "5 means bad"), (noted, Simple, "look here"),
    (grouped, ExceptionGroup, "6 means inside"), (stops, StopIteration, "the end"),
    (interrupts, KeyboardInterrupt, "by itself"), (closes, GeneratorExit, "closed"),
    (no_text, UnicodeDecodeError, "0xff"), (no_file, FileNotFoundError, "nowhere.txt"), (child, Exception, "status 3"),
    (asserts, AssertionError, "not equal"),
]  # fmt: skip


def caught(call):
    try:
        found = call()
    except BaseException as error:
        return error
    raise AssertionError(f"no error: {found}")


with octapi.Cluster() as cluster:
    for fn, kind, words in CALLS:
        by_submit = caught(lambda: cluster.submit(fn).result(60))
        by_map = caught(lambda: list(cluster.map(lambda _: fn(), [1], timeout=60)))
        for error in (by_submit, by_map):
            text = "".join(traceback.format_exception(error))
            # the iterator of map would end by a StopIteration, so that is turned into a RuntimeError as in generators
            is_turned = fn is stops and error is by_map
            assert type(error) is (RuntimeError if is_turned else kind) or kind is Exception, (fn, error)
            assert words in text, (fn, words, text)
            assert f"in {fn.__name__}" in text, (fn, text)
    assert caught(lambda: cluster.submit(two).result(60)).code == 5
    assert caught(lambda: cluster.submit(named).result(60)).code == 7
    assert caught(lambda: cluster.submit(silent).result(60)).code == 8
    left = cluster.submit(locked).exception(60)
    assert left.code == 9, vars(left)
    inner = cluster.submit(grouped).exception(60).exceptions
    assert [type(error) for error in inner] == [ValueError, Two], inner
    assert inner[1].code == 6, inner
    assert isinstance(cluster.submit(no_file).exception(60), OSError)
    assert cluster.submit(no_file).exception(60).filename == "nowhere.txt"
    returned = cluster.submit(Two, 1, "given back").result(60)
    assert (type(returned), returned.code) == (Two, 1), returned
    assert cluster.submit(abs, -1).result(60) == 1
print("holds")
