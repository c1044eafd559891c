"""What master, workers and services log: for people, for programs, and never a secret."""

import ast
import datetime
import json
import logging
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import octapi
from octapi.cli import service, worker
from octapi.errors import SettingsError
from octapi.install import systemd_units
from octapi.telemetry import logs, redaction
from octapi.trust.token import Token
from tests.harness import Running, Yard, clean_environment, until
from tests.house.test_layers import files_of, room_of

ROOT = Path(octapi.__file__).parent
ROOMS = ("master", "master.gateway", "master.supervisor", "worker", "pool", "engine", "page")
#: what writes to stderr by itself, and why
BY_THEMSELVES = {
    "worker/respawner.py": "stands alone with the standard library; its lines are made by logs.template",
    "pool/log.py": "a pool in a script speaks to the person who waits",
    "pool/slot.py": "a slot's own stderr is kept by its agent, and is no log",
    "page/local_page.py": "the page beside a script tells that script's user its link",
}
TOKEN = Token(b"p" * 32, "abc234", b"s" * 16, ("pi:8785",)).text()
METRICS_TOKEN = "iWJk1vJ8nP0dY3kqk2a_2mSg5x-6C3zq0WJk1vJ8nP0"
KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nAgEGCCqGSM49AwEHBG0w\n-----END PRIVATE KEY-----\n"
SECRETS = {
    f"octapi worker {TOKEN}": TOKEN.split(".")[3],
    f"cannot open https://pi:8787/login?token=abc.{'x' * 32} now": "x" * 32,
    f"GET /v1/reboot?apikey={'k' * 20}&force=1": "k" * 20,
    f"it sent Authorization: Bearer {METRICS_TOKEN}": METRICS_TOKEN,
    f"{METRICS_TOKEN} is no path": METRICS_TOKEN,
    f"Cookie: octapi-page=abc.1700000000.{'m' * 64}": "m" * 64,
    f"cannot read {KEY!r}": "AgEGCCqGSM49AwEHBG0w",
    f"cannot read {KEY}": "AgEGCCqGSM49AwEHBG0w",
    f"cut off: {KEY[:50]}": "MIGHAgEAMBMGByqGSM49",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n": "b3BlbnNzaC1rZXk",
}  # fmt: skip


def said(code: str, **options: Any) -> str:
    """Run a program that sets up a log, and return what it wrote to stderr."""
    program = f"import logging, sys\nfrom octapi.telemetry import logs, redaction\n{code}"
    environment = clean_environment() | options.pop("env", {})
    done = subprocess.run(
        [sys.executable, "-c", program, *options.pop("arguments", ())],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    return done.stderr


# ---- the forms


def test_on_a_terminal_a_line_has_the_speaker_in_front_and_nothing_that_acts_on_it() -> None:
    """What others named cannot make a second line, nor move the cursor."""
    text = said(
        "logs.set_up('octapi worker')\nlogging.getLogger('octapi.pool').warning('100% \\x1b[2J\\nocapi worker: %s')\n"
        "logging.getLogger(logs.COMMAND).error('that is all')"
    )

    assert text == "octapi worker: 100% \\x1b[2J\\nocapi worker: %s\noctapi: that is all\n"


def test_each_record_is_one_line_of_json_with_time_level_logger_and_text() -> None:
    """Texts with several lines and errors with their tracebacks too."""
    before = datetime.datetime.now(datetime.UTC)
    text = said(
        "logs.set_up('octapi worker', logs.LogOptions('debug', True))\n"
        "log = logging.getLogger('octapi.worker')\n"
        "log.debug('one\\ntwo \\u2028 three')\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    log.error('it went wrong', exc_info=error)\n"
        "logging.getLogger('zeroconf').warning('a library says %d', 7)"
    )

    first, second, third = [json.loads(line) for line in text.splitlines()]
    assert (first["level"], first["logger"], first["text"]) == ("debug", "octapi.worker", "one\ntwo \u2028 three")
    assert before - datetime.timedelta(seconds=1) <= datetime.datetime.fromisoformat(first["time"])
    assert datetime.datetime.fromisoformat(first["time"]) <= datetime.datetime.now(datetime.UTC)
    assert second["level"] == "error"
    assert second["text"].startswith("it went wrong\nTraceback")
    assert second["text"].endswith("ZeroDivisionError: division by zero")
    assert (third["logger"], third["text"]) == ("zeroconf", "a library says 7")


def test_a_librarys_own_handler_writes_in_the_same_form() -> None:
    """Dask brings its own; on a terminal its lines stay as they are."""
    code = (
        "import distributed\nlogs.set_up('octapi master', logs.LogOptions('info', {as_json}))\n"
        "logs.adopt('distributed')\nlogs.adopt('distributed')\n"
        "logging.getLogger('distributed.scheduler').error('apikey=%s', 'k' * 20)"
    )

    found = json.loads(said(code.format(as_json=True)))
    assert (found["level"], found["logger"]) == ("error", "distributed.scheduler")
    assert found["text"] == "apikey=[hidden]"
    plain = said(code.format(as_json=False))
    assert re.fullmatch(r"\S+ \S+ - distributed.scheduler - ERROR - apikey=\[hidden\]\n", plain)


def test_the_line_for_the_process_beside_a_worker_has_the_workers_form() -> None:
    """It starts the worker again, and knows nothing of logging."""
    lines = [
        said(
            f"logs.set_up('octapi worker', logs.LogOptions({level!r}, {as_json}))\n"
            "print(logs.template('octapi.worker', logging.WARNING), file=sys.stderr)"
        ).strip()
        for level, as_json in (("info", False), ("info", True), ("error", False))
    ]

    assert lines[0] == "octapi worker: TEXT"
    assert json.loads(lines[1]) == {"time": "TIME", "level": "warning", "logger": "octapi.worker", "text": "TEXT"}
    assert lines[2] == ""


# ---- whose logging it is


def test_importing_octapi_and_using_it_leaves_a_programs_logging_alone() -> None:
    """A local cluster too, with what its pool says."""
    code = """
import io
stream = io.StringIO()
logging.basicConfig(stream=stream, level="DEBUG", format="mine %(message)s")
before = [(logging.getLogger(name).handlers[:], logging.getLogger(name).level, logging.getLogger(name).propagate)
          for name in (None, "octapi")]
import octapi, octapi.client.local, octapi.worker.service, octapi.page.process, octapi.master.gateway.server
from octapi.pool.log import warn
with octapi.Cluster("local", slots=1) as cluster:
    assert cluster.submit(max, 1, 2).result() == 2
warn("no slot can be started")
after = [(logging.getLogger(name).handlers[:], logging.getLogger(name).level, logging.getLogger(name).propagate)
         for name in (None, "octapi")]
assert before == after
assert "no slot" not in stream.getvalue()
logging.getLogger("octapi.worker").info("to the program's own handler")
assert "mine to the program's own handler" in stream.getvalue()
"""
    assert said(code) == "octapi worker: no slot can be started\n"


def test_where_users_tasks_run_the_root_logger_is_theirs() -> None:
    """Dask's tasks may call basicConfig, and see their records as they like."""
    text = said(
        "logs.set_up('octapi worker', with_others=False)\nlogging.basicConfig(format='mine %(message)s')\n"
        "logging.warning('a')\nlogging.getLogger('octapi.worker').warning('b')"
    )

    assert text == "mine a\noctapi worker: b\n"


def test_each_room_has_a_logger_of_its_name() -> None:
    """So a reader of a log, and a filter, finds the code by it."""
    found = {}
    for path in ROOT.rglob("*.py"):
        for name in re.findall(r'getLogger\("(octapi[^"]*)"\)', path.read_text(encoding="utf-8")):
            room = room_of(".".join(path.relative_to(ROOT).parts))
            found[room] = {*found.get(room, set()), name}

    assert {"master.gateway", "master.supervisor", "worker", "pool", "page", "trust", "device"} <= found.keys()
    assert found.pop("cli") == {"octapi.master", "octapi.worker"}  # the commands speak for them
    assert all(names == {f"octapi.{room}"} for room, names in found.items()), found


def test_master_workers_and_page_write_to_stderr_by_their_log_only() -> None:
    """Neither by print, nor by what is there for scripts' users."""
    wrong, known = [], set()
    for room in ROOMS:
        for path in files_of(room):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if writes_to_stderr(node):
                    place = str(path.relative_to(ROOT))
                    known.add(place)
                    if place not in BY_THEMSELVES:
                        wrong.append(f"{place}:{node.lineno}")  # type: ignore[attr-defined]
    assert not wrong, "\n".join(wrong)
    assert known == set(BY_THEMSELVES)


def writes_to_stderr(node: ast.AST) -> bool:
    """Say whether a part of a program writes to stderr, or prints at all."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "octapi.text.stderr" and any(name.name in ("say", "write") for name in node.names)
    if not isinstance(node, ast.Call):
        return False
    text = ast.unparse(node.func)
    return (
        text == "print" or re.fullmatch(r"sys\.(__)?stderr(__)?\.write(lines)?|stderr\.(say|write)", text) is not None
    )


# ---- secrets


@pytest.mark.parametrize("as_json", [False, True], ids=["plain", "json"])
def test_no_secret_stands_in_a_log(as_json: bool) -> None:
    """Neither in a text, nor in its parts, nor in an error; whoever logs it."""
    code = f"""
import json
logs.set_up("octapi master", logs.LogOptions("info", {as_json}))
redaction.hide(sys.argv[2])
for text in json.loads(sys.argv[1]):
    for log in (logging.getLogger("octapi.trust"), logging.getLogger("zeroconf")):
        log.warning(text)
        log.warning("%s: %r", "said", text)
        try:
            raise ValueError(text)
        except ValueError as error:
            log.error("failed", exc_info=error, stack_info=True)
"""
    text = said(code, arguments=(json.dumps(list(SECRETS)), METRICS_TOKEN))

    assert text.count("[hidden]") >= 6 * len(SECRETS)
    for secret in SECRETS.values():
        assert secret not in text
    assert "GET /v1/reboot?apikey=[hidden]&force=1" in text


def test_what_is_no_secret_stays_in_a_log() -> None:
    """Ids of tokens and fingerprints are there for people to compare."""
    for text in (
        "token abc234 was made.",
        "the bearer of bad news",
        "pin sha256 " + "0123456789abcdef" * 4,
        "'octapi token create' on this device prints the line; tokens begin with 'octapi1.'",
    ):
        assert redaction.redacted(text) == text


# ---- the commands


def lines_of(process: Running) -> list[dict[str, Any]]:
    """Return what a process logged as JSON; every line must be some."""
    return [json.loads(line) for line in process.text().splitlines()]


def test_a_master_and_a_worker_log_json_whatever_happens_to_them(yard: Yard) -> None:
    """Scheduler, page and the process beside the worker too, whether they write to stdout or stderr."""
    master = yard.master("--log-json", "--page", "--page-port", "0")
    port = re.search(r"page at port (\d+)", master.text())
    assert port is not None
    worker = yard.worker("red", yard.token(), "--log-json")
    pid = int(
        until(lambda: (Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children")).read_text()).split()[0]
    )
    os.kill(pid, signal.SIGKILL)
    worker.until_says("red works for", times=2)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/login?token=abc.{'x' * 32}", timeout=20)
    master.until_says("wrong or expired token")
    worker.stop()
    master.until_says("red left")
    master.stop()

    heard = lines_of(master)
    loggers = {row["logger"] for row in heard}
    assert {"octapi.master", "octapi.master.gateway", "octapi.trust", "octapi.page"} <= loggers
    assert {"info", "warning"} <= {row["level"] for row in heard}
    died = [row for row in lines_of(worker) if "worker's process ended" in row["text"]]
    assert [(row["level"], row["logger"]) for row in died] == [("warning", "octapi.worker")]
    for row in (*heard, *died):
        assert datetime.datetime.fromisoformat(row["time"])


def test_a_level_leaves_out_what_is_below_it(yard: Yard) -> None:
    """What is wrong is said all the same; at debug there is more than usual, in the scheduler's process too."""
    master = yard.master("--log-level", "debug")
    worker = yard.start_worker("red", yard.token(), env={"OCTAPI_LOG_LEVEL": "warning"})
    master.until_says("with 1 slots")
    yard.command("master", "nodes")
    master.until_says("asked how things stand")
    master.until_says("is connected.")
    master.stop()
    worker.until_says("lost the master")
    worker.stop()

    assert "works for" not in worker.text()
    assert "joined the cluster" not in worker.text()


def test_the_last_words_of_a_service_are_logged_too(yard: Yard) -> None:
    """Whoever collects JSON learns why it did not start."""
    failed = yard.start("worker", "worker", "--log-json", "--no-dask")
    assert failed.wait() == 1

    assert [(row["level"], row["logger"]) for row in lines_of(failed)] == [("error", "octapi.cli")]
    wrong = yard.start("worker", "worker", "--log-level", "loud")
    assert wrong.wait() == 1
    assert wrong.text() == ("octapi: The log's level is 'loud'; it must be one of debug, info, warning, error.\n")


def test_settings_say_how_to_log_and_options_are_stronger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTAPI_LOG_LEVEL", "Warning")
    monkeypatch.setenv("OCTAPI_LOG_JSON", "1")

    assert logs.LogOptions.load() == ("warning", True)
    assert logs.LogOptions.load("debug", False) == ("debug", False)
    monkeypatch.setenv("OCTAPI_LOG_LEVEL", "5")
    with pytest.raises(SettingsError, match="one of debug, info"):
        logs.LogOptions.load()


def test_a_service_of_systemd_logs_as_it_was_told() -> None:
    given = worker.WorkerOptions(log_level="warning", log_json=True)
    rows = [row for row in service.options(given) if row[0].startswith("--log")]

    assert systemd_units.arguments(rows) == ["--log-level", "warning", "--log-json"]


def test_a_second_setting_up_replaces_the_first() -> None:
    """'octapi start' sets up before it runs the command of a role."""
    text = said(
        "logs.set_up('octapi worker')\nlogs.set_up('octapi worker', with_others=False)\nlogs.set_up('octapi worker')\n"
        "logging.getLogger('octapi.worker').info('once')"
    )
    assert text == "octapi worker: once\n"
    assert not logging.getLogger("octapi").handlers  # this process is none of the services
