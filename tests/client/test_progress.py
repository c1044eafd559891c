"""What the one who runs a script sees: its own prints, the bar, what mapped jobs print, and which item failed."""

import subprocess
import sys
from pathlib import Path

import pytest

from octapi.client import footer, progress
from octapi.client.echo import LINES, Echo
from octapi.text import escape
from tests.terminal import Screen, Seen

HEAD = """
import logging, os, subprocess, sys, threading, time, octapi
def slow(n):
    time.sleep(0.1)
    return n
def items(count):
    with octapi.Cluster("local", slots=2) as cluster:
        yield from cluster.map(slow, range(count))
"""


@pytest.fixture
def script(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Return what writes a script and gives the command that runs it."""

    def write(body: str) -> list[str]:
        path = tmp_path / "script.py"
        path.write_text(HEAD + body)
        return [sys.executable, str(path)]

    return write


PRINTS = """
for n in items(30):
    print("line", n)
    if n == 5:
        print("part", end=" ", flush=True)
        time.sleep(0.5)
        print("whole", flush=True)
    if n == 10:
        thread = threading.Thread(target=print, args=("from a thread",))
        thread.start()
        thread.join()
    if n == 15:
        subprocess.run([sys.executable, "-c", "print('from a child')"])
    if n == 20:
        os.write(1, b"from below\\n")
print("end")
"""
WANTED = [f"line {n}" for n in range(30)]
for place, text in ((21, "from below"), (16, "from a child"), (11, "from a thread"), (6, "part whole")):
    WANTED.insert(place, text)
WANTED.append("end")


def test_prints_go_to_the_file_that_the_shell_names_while_the_bar_shows(script, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """``python3 script.py > results.txt`` on a terminal: every line is in the file, the bar on the terminal."""
    with (tmp_path / "results.txt").open("w") as file:
        seen = Seen(script(PRINTS), stdout=file, stderr="pty")

    lines = (tmp_path / "results.txt").read_text().splitlines()
    assert sorted(lines) == sorted(WANTED)  # a child's lines come before what this process still holds
    assert any("/30" in line for line in seen.foot())
    assert seen.lines == []


def test_prints_and_the_bar_share_a_terminal(script) -> None:  # type: ignore[no-untyped-def]
    """Every line is whole and in its place above the bar, whoever printed it; at the end the bar is gone."""
    seen = Seen(script(PRINTS), stdout="pty", stderr="pty")

    assert any("/30" in line for line in seen.foot())
    assert seen.lines == WANTED


def test_without_a_terminal_there_is_no_bar(script) -> None:  # type: ignore[no-untyped-def]
    """Neither stream is a terminal: stderr stays empty."""
    done = subprocess.run(script(PRINTS), capture_output=True, text=True, check=True, timeout=60)

    assert sorted(done.stdout.splitlines()) == sorted(WANTED)
    assert done.stderr == ""


def test_a_bar_that_was_asked_for_tells_in_lines_where_there_is_no_terminal(script) -> None:  # type: ignore[no-untyped-def]
    """In an editor's window or a journal: how far the jobs are, line by line."""
    body = (
        "from octapi.client import progress\nprogress.LINE_S = 0.2\n"
        'with octapi.Cluster("local", slots=2, progress=True) as cluster:\n    list(cluster.map(slow, range(30)))\n'
    )
    done = subprocess.run(script(body), capture_output=True, text=True, check=True, timeout=60)

    lines = done.stderr.splitlines()
    assert lines != []
    assert [line for line in lines if not (line.startswith("octapi: jobs ") and "/30" in line)] == []


def test_a_scripts_own_stdout_stays_in_its_place(script) -> None:  # type: ignore[no-untyped-def]
    """A script that puts a stream of its own in place of sys.stdout gets what it prints, and the same stream back."""
    body = """
import contextlib, io
mine = io.StringIO()
with contextlib.redirect_stdout(mine):
    for n in items(20):
        print("line", n)
        assert sys.stdout is mine
assert mine.getvalue().splitlines() == [f"line {n}" for n in range(20)]
assert sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__
logging.warning("logged")
print("well")
"""
    seen = Seen(script(body), stdout="pty", stderr="pty")

    assert seen.lines == ["WARNING:root:logged", "well"]


def test_a_script_that_dies_of_its_own_error_leaves_the_terminal_whole(script) -> None:  # type: ignore[no-untyped-def]
    """The whole terminal scrolls again, and the bar is gone."""
    seen = Seen(script("for n in items(100):\n    if n == 20:\n        sys.exit('gone')\n"), stdout="pty", stderr="pty")

    assert any("/100" in line for line in seen.foot())
    assert seen.screen.bottom == seen.screen.lines - 1
    assert seen.lines == ["gone"]


def test_two_clusters_at_once_do_not_fight_for_the_foot(script) -> None:  # type: ignore[no-untyped-def]
    """One bar is shown, and no thread of either fails."""
    body = "for a, b in zip(items(20), items(20)):\n    print(a, b)\n"
    seen = Seen(script(body), stdout="pty", stderr="pty")

    assert seen.lines == [f"{n} {n}" for n in range(20)]


def test_a_terminal_that_cannot_do_it_gets_no_bar(script) -> None:  # type: ignore[no-untyped-def]
    """TERM=dumb, as in editors: nothing but what was printed."""
    seen = Seen(script("for n in items(15):\n    print(n)\n"), stdout="pty", stderr="pty", env={"TERM": "dumb"})

    assert "\x1b" not in seen.raw
    assert seen.lines == [str(n) for n in range(15)]


def test_the_foot_leaves_the_cursor_where_it_is_in_windows_of_any_size() -> None:
    """Drawn with the cursor anywhere, at the last line too, and after the window was made larger or smaller."""
    for line in range(8):
        screen = Screen(8, 30)
        screen.line, screen.column = line, 3
        screen.feed(footer.draw("foot", 8, 0).decode())
        assert (screen.line, screen.column) == (min(line, 6), 3)
        screen.feed("x" + footer.draw("feet", 8, 8).decode() + "y")
        assert screen.text()[-1] == "feet"
        assert any(text.endswith("xy") for text in screen.text())
        screen.feed(footer.erase(8).decode())
        assert screen.bottom == 7
        assert screen.text()[-1] == ""


def test_words_of_the_bar() -> None:
    """Done, total, rate and time left; each only when it is known."""
    assert progress.words(5, 1000, None) == "5/1,000"
    assert progress.words(500, 1000, 100.0) == "500/1,000  100/s  0:05 left"
    assert progress.words(0, 7200, 1.0) == "0/7,200  1.0/s  2:00:00 left"
    assert progress.bar(0, 0) == "─" * 40
    assert progress.bar(70, 35, progress.PLAIN_PARTS) == "#" * 40
    assert progress.parts_for("latin-1") == progress.PLAIN_PARTS
    pace = progress.Pace()
    assert pace.rate(0, 10.0) is None
    assert pace.rate(50, 12.0) == 25.0
    assert pace.rate(50, 30.0) is None


# ---- what mapped jobs print


def test_what_mapped_jobs_print_and_warn_is_seen(script) -> None:  # type: ignore[no-untyped-def]
    """On the script's stderr, so that results on its stdout stay clean."""
    body = """
import warnings
def work(n):
    print("hello", n)
    print("to stderr", n, file=sys.stderr)
    warnings.warn(f"careful {n}")
    logging.warning("logged %d", n)
    return n
with octapi.Cluster("local", slots=2) as cluster:
    print(list(cluster.map(work, range(3))))
    job = cluster.submit(work, 9)
    job.result()
    print(job.stdout)
"""
    done = subprocess.run(script(body), capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "[0, 1, 2]\nhello 9\n\n"
    for text in ("hello", "to stderr", "careful", "logged"):
        assert [n for n in range(10) if f"{text} {n}\n" in done.stderr] == [0, 1, 2]


def test_output_of_a_map_is_bounded_and_says_what_is_missing(script) -> None:  # type: ignore[no-untyped-def]
    """The first lines, then one line that counts the others."""
    body = 'with octapi.Cluster("local", slots=2) as cluster:\n    list(cluster.map(print, range(1000)))\n'
    lines = subprocess.run(script(body), capture_output=True, text=True, check=True, timeout=60).stderr.splitlines()

    assert len(lines) == LINES + 1
    assert lines[-1].startswith("octapi: 800 more lines that jobs of print printed are not shown")


def test_a_maps_output_stands_above_the_bar_and_cannot_act_on_the_terminal(script) -> None:  # type: ignore[no-untyped-def]
    """Escape sequences are shown as text."""
    body = """
def work(n):
    time.sleep(0.1)
    print("\\x1b[31mred", n)
with octapi.Cluster("local", slots=2) as cluster:
    list(cluster.map(work, range(30)))
"""
    seen = Seen(script(body), stdout="pty", stderr="pty")

    assert sorted(seen.lines) == sorted(f"\\x1b[31mred {n}" for n in range(30))
    assert "\x1b[31m" not in seen.raw


def test_a_script_without_stderr_is_not_harmed_by_output_of_jobs(script) -> None:  # type: ignore[no-untyped-def]
    """None, closed, or a pipe that nobody reads."""
    body = """
for stream in (None, open(os.devnull), open(os.devnull, "w")):
    sys.stderr = stream
    if stream is not None and stream.writable():
        stream.close()
    with octapi.Cluster("local", slots=2) as cluster:
        print(len(list(cluster.map(print, range(50)))))
"""
    done = subprocess.run(script(body), capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "50\n50\n50\n"


def test_lines_of_other_workers_have_their_name_and_a_closed_reader_hears_no_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Names are strangers' text too."""
    echo = Echo("f")
    echo.hear("pi\x07", ("one\ntwo\n", ""))
    echo.hear("", ("  0%\r 50%\r100%\n", "last \u202eline"))
    echo.close()
    echo.hear("pi", ("late",))
    echo.close()

    assert capsys.readouterr().err == "[pi\\x07] one\n[pi\\x07] two\n100%\nlast \\u202eline\n"


def test_very_long_lines_and_many_letters_are_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    """A job that prints a book costs the terminal a page."""
    echo = Echo("f")
    for _ in range(100):
        echo.hear("", ("x" * 1_000_000,))
    echo.close()

    text = capsys.readouterr().err
    assert "(998,000 more letters)" in text
    assert len(text) < 70_000


def test_strangers_text_is_shown_as_it_is_and_does_nothing() -> None:
    """Letters of all languages stay; what acts on a terminal is written out."""
    assert escape.visible("Zoë 東京 ok") == "Zoë 東京 ok"
    assert escape.visible("\x1b[2J\n\ud800") == "\\x1b[2J\\n\\ud800"
    assert escape.shown_lines("a\tb\r\nc\n") == ["a       b", "c"]


# ---- which item failed


def test_a_failed_item_of_a_map_says_which(script) -> None:  # type: ignore[no-untyped-def]
    """Its number and its arguments stand below the error, and the error is the job's own."""
    body = """
def part(n, m):
    return n // (17 - m)
class Odd:
    def __repr__(self): raise RuntimeError
    def __rfloordiv__(self, other): raise KeyError("odd")
with octapi.Cluster("local", slots=2) as cluster:
    for ordered in (True, False):
        try:
            list(cluster.options(retries=0).map(part, range(100), range(100), ordered=ordered))
        except ZeroDivisionError as error:
            print(error.__notes__)
    try:
        list(cluster.map(lambda odd: 1 // odd, [Odd()]))
    except KeyError as error:
        print(error.__notes__)
    try:
        list(cluster.map(os._exit, [3]))
    except octapi.errors.JobCrashed as error:
        print(error.__notes__)
"""
    done = subprocess.run(script(body), capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.splitlines() == [
        "['item 17 of map: part(17, 17)']",
        "['item 17 of map: part(17, 17)']",
        "['item 0 of map: <lambda>(<RuntimeError while reading the arguments>)']",
        "['item 0 of map: _exit(3)']",
    ]
