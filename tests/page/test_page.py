"""The page of a real master: logins, state, actions, and that it says what the master says."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Yard, until
from tests.page.screenshots import Sight, stream

SLOW = "import time\nfrom octapi import Cluster\ndef doze(n):\n    time.sleep(n)\n    return n\n"


@pytest.fixture(scope="module")
def sight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sight]:
    yard = Yard(tmp_path_factory.mktemp("page"))
    found = Sight(yard)
    found.workers(2)
    yield found
    yard.close()


def cookie_of(sight: Sight, token: str) -> str:
    """Exchange a token for a cookie."""
    status, headers, _ = sight.request("GET", f"/login?token={token}", token="")
    assert status == 303
    return headers["set-cookie"].partition(";")[0]


def test_nobody_looks_without_a_login(sight: Sight) -> None:
    """Every way in answers with 401, and the front page asks for a link."""
    for path in (
        "/api/v1/me",
        "/api/v1/state",
        "/api/v1/runs",
        "/api/v1/events",
        "/api/v1/openapi.json",
        "/metrics",
        "/dask/",
    ):
        assert sight.request("GET", path, token="")[0] == 401
    for path in ("/api/v1/join", "/api/v1/runs/x/stop", "/api/v1/workers/pi-1/remove", "/logout"):
        assert sight.request("POST", path, {}, token="", x_octapi="1")[0] == 401
    status, _, text = sight.request("GET", "/", token="")
    assert status == 200
    assert "for people with a link" in text
    assert sight.request("GET", "/api/v1/me", token="abcdef.wrong")[0] == 401


def test_a_token_is_exchanged_for_a_cookie_that_scripts_cannot_read(sight: Sight) -> None:
    """The answer leads away from the address that holds the token."""
    status, headers, _ = sight.request("GET", f"/login?token={sight.new_token()}", token="")

    assert (status, headers["location"]) == (303, "./")
    parts = {part.strip().lower() for part in headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=strict", "path=/"} <= parts
    assert "secure" not in parts  # loopback speaks HTTP
    assert sight.request("GET", "/api/v1/me", token="", cookie=cookie_of(sight, sight.new_token()))[0] == 200


def test_every_answer_forbids_foreign_scripts_frames_and_referrers(sight: Sight) -> None:
    """Also errors and static files."""
    for path, token in (("/", ""), ("/", None), ("/static/app.js", ""), ("/api/v1/me", None), ("/nothing", None)):
        _, headers, _ = sight.request("GET", path, token=token)
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_whoever_may_only_look_may_not_act(sight: Sight) -> None:
    """Stop, remove, drain and join are refused with a reason."""
    token = sight.new_token("--view")
    assert sight.request("GET", "/api/v1/workers", token=token)[0] == 200
    for path in ("/join", "/runs/x/stop", "/runs/x/jobs/stop", "/workers/pi-1/remove", "/workers/pi-1/drain"):
        status, _, found = sight.request("POST", f"/api/v1{path}", {}, token=token)
        assert status == 403
        assert "look only" in found["error"]


def test_requests_forged_by_other_sites_change_nothing(sight: Sight) -> None:
    """With the right cookie, but without our header, or from another origin or site."""
    cookie = cookie_of(sight, sight.new_token())
    forged = (
        {},
        {"x_octapi": "1", "origin": "https://evil.example"},
        {"x_octapi": "1", "sec_fetch_site": "cross-site"},
        {"content_type": "text/plain"},
    )
    for headers in forged:
        status, _, found = sight.request("POST", "/api/v1/join", {}, token="", cookie=cookie, **headers)
        assert (status, "not from this page" in found["error"]) == (403, True)
    assert sight.request("POST", "/api/v1/join", {}, token="", cookie=cookie, x_octapi="1")[0] == 200


def test_a_site_whose_name_leads_here_is_not_answered(sight: Sight) -> None:
    """Names that are not ours are refused, with the setting that would allow them."""
    status, _, found = sight.request("GET", "/api/v1/me", host="rebound.example")
    assert status == 421
    assert "OCTAPI_PAGE_NAMES" in found["error"]
    assert sight.request("GET", "/api/v1/me", host=f"{socket.gethostname()}:1")[0] == 200


def test_a_revoked_link_ends_logins_and_open_streams(sight: Sight) -> None:
    """The cookie is refused at once, and the stream ends."""
    token = sight.new_token()
    cookie = cookie_of(sight, token)
    rows = json.loads(sight.yard.command("master", "page", "--list", "--json"))
    assert token.partition(".")[0] in [row["ident"] for row in rows]

    sight.yard.command("master", "page", "--revoke", token.partition(".")[0])

    until(lambda: sight.request("GET", "/api/v1/me", token="", cookie=cookie)[0] == 401)


def test_the_stream_tells_everything_first_and_then_what_changes(sight: Sight) -> None:
    """Each time it is newer."""
    with stream(sight) as events:
        full = next(found for kind, found in events if kind == "state" and found.get("full"))
        assert set(full["workers"]) == {"pi-1", "pi-2"}
        times = [found["time"] for _, found in (next(events) for _ in range(5))]
    assert times == sorted(set(times))


def test_a_run_is_told_as_the_script_the_api_and_the_database_know_it(sight: Sight) -> None:
    """Jobs that end well, fail and are cancelled; who did what; causes with their traceback; output."""
    code = SLOW + (
        "def work(n):\n    if n % 5 == 0:\n        raise ValueError(f'item {n}')\n    print('row', n)\n    return n\n"
        "with Cluster() as cluster:\n"
        "    jobs = [cluster.submit(work, n) for n in range(40)]\n"
        "    print(sum(job.exception() is None for job in jobs))\n"
    )
    said = sight.yard.run("master", code)
    assert "32" in said

    row = until(lambda: next((r for r in sight.get("/runs?search=work")["runs"] if r["ended"]), None))
    assert (row["done"], row["failed"], row["cancelled"], row["waiting"], row["running"]) == (32, 8, 0, 0, 0)
    found = sight.get(f"/runs/{row['run']}")
    assert sum(jobs for _, jobs, _, _ in found["story"]["workers"]) == 40
    (cause,) = found["story"]["causes"]
    assert (cause["count"], cause["kind"], cause["function"]) == (8, "ValueError", "work")
    assert "raise ValueError" in cause["traceback"] or "ValueError: item" in cause["traceback"]
    assert any(line.startswith("row ") for _, _, _, line in found["story"]["output"])
    shown = sight.request("GET", f"/api/v1/runs/{row['run']}", token=sight.new_token("--view"))[2]["story"]
    (shy,) = shown["causes"]
    assert (shown["output"], shy["traceback"], shy["arguments"], shy["count"]) == ([], "", "", 8)
    kept = json.loads(sight.yard.command("master", "runs", "--json")) if has_runs(sight) else [row]
    assert row["run"] in json.dumps(kept)


def has_runs(sight: Sight) -> bool:
    """Say whether this release lists runs on the command line."""
    return "runs" in sight.yard.command("master", "--help")


def test_a_run_and_a_job_can_be_stopped(sight: Sight) -> None:
    """The job that runs ends as cancelled; then all of the run."""
    script = sight.yard.script(
        "master",
        SLOW
        + "with Cluster() as cluster:\n"
        + "    jobs = [cluster.submit(doze, 600) for _ in range(6)]\n"
        + "    import concurrent.futures as f\n"
        + "    f.wait(jobs)\n"
        + "    print('over', [job.cancelled() for job in jobs])\n",
    )
    row = until(lambda: next((r for r in sight.get("/runs")["runs"] if r["ended"] is None and r["running"]), None))

    def light() -> list[object] | None:
        lights = [light for worker in sight.get("/workers")["workers"] for light in worker["lights"]]
        return next((light for light in lights if light[0] == row["run"]), None)

    batch = until(light)[2]
    assert sight.post(f"/runs/{row['run']}/jobs/stop", {"batch": batch}) == {"stopped": True}
    until(lambda: sight.get(f"/runs/{row['run']}")["cancelled"] == 1)
    assert sight.post(f"/runs/{row['run']}/stop") == {"stopped": True}

    script.until_says("over", 60)
    until(lambda: sight.get(f"/runs/{row['run']}")["cancelled"] == 6)


def test_the_line_to_join_comes_with_its_qr_code_and_refusals_are_told(sight: Sight) -> None:
    """A device that shows a wrong token is listed with the reason."""
    found = sight.post("/join", {"uses": 1, "life_s": 600})
    assert found["line"].startswith("octapi worker octapi1.")
    assert len(found["qr"]) == len(found["qr"][0])

    wrong = found["line"].split()[-1].split(".")
    refused = sight.yard.token("--name", "elsewhere-*")
    assert wrong
    sight.yard.start_worker("stranger", refused).wait()
    until(lambda: any("elsewhere" in row["text"] for row in sight.get("/devices")["refusals"]))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/join", {"uses": -1}),
        ("/join", {"life_s": 1e9}),
        ("/join", [1]),
        ("/join", {"uses": True}),
        ("/runs/x/jobs/stop", {}),
    ],
)
def test_wrong_requests_are_refused_before_anything_happens(sight: Sight, path: str, body: object) -> None:
    """With a reason, and no trace of the inside."""
    status, _, found = sight.request("POST", f"/api/v1{path}", body)
    assert status in (400, 409)
    assert "Traceback" not in found["error"]


def test_a_master_without_the_page_says_how_to_get_one(yard: Yard) -> None:
    """The owner who asks for a link reads what is missing."""
    yard.master()
    assert "--page" in yard.command("master", "page", "--show", code=1)


def test_a_port_that_is_taken_leaves_the_master_without_a_page(yard: Yard) -> None:
    """It says so and works."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        master = yard.master("--page", "--page-port", str(port))
        master.until_says(f"port {port} cannot be used")
    assert yard.token()


def test_towards_a_network_the_page_speaks_https_with_the_fingerprint_that_was_printed(
    yard: Yard, tmp_path: Path
) -> None:
    """Its certificate is the cluster's, kept over restarts; the cookie is Secure."""
    import hashlib
    import http.client
    import ssl

    arguments = ("--listen", "0.0.0.0", "--advertise", "127.0.0.1", "--page", "--page-port", "0")
    master = yard.master(*arguments)
    found = json.loads(yard.command("master", "page", "--json"))
    assert found["link"].startswith("https://127.0.0.1:")
    port = int(found["link"].split(":")[2].partition("/")[0])
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
    connection.request("GET", f"/login?token={found['token']}")
    der = connection.sock.getpeercert(binary_form=True)
    answer = connection.getresponse()
    assert "; secure" in answer.headers["set-cookie"].lower()
    connection.close()
    assert hashlib.sha256(der).hexdigest().upper() == found["fingerprint"].replace(":", "")

    master.stop()
    yard.master(*arguments)
    assert json.loads(yard.command("master", "page", "--json"))["fingerprint"] == found["fingerprint"]


def test_behind_a_proxy_only_this_computer_reaches_the_page_and_its_link_leads_to_the_proxy(yard: Yard) -> None:
    """The link would otherwise lead its token past the proxy, unencrypted; what others say of themselves counts not."""
    arguments = ("--listen", "0.0.0.0", "--page-proxy", "--page-names", "*.x.org,pi.example.org")
    sight = Sight(yard, *arguments)
    link = json.loads(yard.command("master", "page", "--json"))["link"]
    assert link.startswith("https://pi.example.org/login?token=")

    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", sight.port), 5):
        pass
    path, https = f"/login?token={sight.token}", {"x_forwarded_proto": "https"}
    assert "secure" in sight.request("GET", path, token="", **https)[1]["set-cookie"].lower()
    assert "secure" not in sight.request("GET", path, token="")[1]["set-cookie"].lower()


def test_a_lost_worker_and_its_retries_are_told_as_they_were(yard: Yard) -> None:
    """Script, page, API and database agree on what was done, tried again and failed."""
    sight = Sight(yard)
    workers = sight.workers(2)
    script = yard.script(
        "master",
        SLOW
        + "def bad(n):\n    raise KeyError(n)\n"
        + "with Cluster() as cluster:\n"
        + "    slow = [cluster.submit(doze, 4) for _ in range(2)]\n"
        + "    wrong = [cluster.submit(bad, n) for n in range(3)]\n"
        + "    well = sum(job.exception() is None for job in slow)\n"
        + "    print('went', well, sum(job.exception() is not None for job in wrong))\n",
    )
    until(
        lambda: (
            all(row["lights"] for row in sight.get("/workers")["workers"])
            and len(sight.get("/workers")["workers"]) == 2
        )
    )
    workers[0].process.kill()
    script.until_says("went 2 3", 60)

    row = until(lambda: next((r for r in sight.get("/runs")["runs"] if r["ended"]), None))
    assert (row["done"], row["failed"]) == (2, 3)
    assert row["retried"] >= 1
    (kept,) = json.loads(yard.command("master", "runs", "--json"))
    assert (kept["id"], kept["done"], kept["failed"]) == (row["run"], 2, 3)
    events = [(event["kind"], event["name"]) for event in sight.get("/state")["events"]]
    assert ("left", "pi-1") in events


def test_dasks_own_dashboard_is_off_and_behind_the_login_when_it_is_on(yard: Yard) -> None:
    """No port of its own; a link that may act opens pages of a list, in a sandbox; one to look only none."""
    import asyncio

    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    sight = Sight(yard, "--dask-dashboard")
    assert sight.request("GET", "/dask/status", token="")[0] == 401
    view = sight.new_token("--view")
    status, _, found = sight.request("GET", "/dask/status", token=view)
    assert (status, "look only" in found["error"]) == (403, True)
    status, headers, text = sight.request("GET", "/dask/status")
    assert (status, "Bokeh" in text or "bokeh" in text) == (200, True)
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "sandbox allow-scripts allow-same-origin;" in policy
    assert f"connect-src http://127.0.0.1:{sight.port}/dask/ ws://127.0.0.1:{sight.port}/dask/;" in policy
    assert sight.request("GET", "/dask/statics/css/base.css")[0] == 200
    for path in (
        "info/main/workers.html",
        "proxy/8787/127.0.0.1/status",
        "json/counts.json",
        "metrics",
        "status/../info",
    ):
        assert sight.request("GET", f"/dask/{path}")[0] == 404

    async def shake(token: str) -> str:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        uri = f"ws://127.0.0.1:{sight.port}/dask/status/ws"
        try:
            async with connect(uri, additional_headers=headers, subprotocols=["bokeh", "wrong"]):  # type: ignore[list-item]
                return "open"
        except WebSocketException as error:
            return str(error)

    assert asyncio.run(shake("")) != "open"
    assert asyncio.run(shake(view)) != "open"


def test_dasks_own_dashboard_is_off_unless_somebody_wants_it(sight: Sight) -> None:
    """Its address does not exist."""
    assert sight.request("GET", "/dask/status")[0] == 404


def test_a_worker_is_drained_and_resumed(sight: Sight) -> None:
    """It says so itself, and takes jobs again afterwards; one that is not here cannot be."""

    def state() -> str:
        found = next(row for row in sight.get("/workers")["workers"] if row["name"] == "pi-2")
        return str(found["state"])

    assert sight.post("/workers/pi-2/drain") == {"drained": True}
    until(lambda: state() == "drained")
    (row,) = [row for row in sight.get("/workers")["workers"] if row["name"] == "pi-2"]
    assert row["badges"][0][1] == "drain"
    assert sight.post("/workers/pi-2/resume") == {"drained": False}
    until(lambda: state() == "ok")
    assert sight.request("POST", "/api/v1/workers/nobody/drain", {})[0] == 409


def test_the_table_is_the_one_that_print_status_prints(sight: Sight, tmp_path: Path) -> None:
    """Jobs and seconds of each node, and the sum, of a dispy script with a job that fails."""
    script = tmp_path / "compute.py"
    script.write_text(
        "import octapi.dispy as dispy\n"
        "def compute(n):\n    import time\n    time.sleep(0.05)\n    return 1 / (n - 3)\n"
        "cluster = dispy.JobCluster(compute)\n"
        "jobs = [cluster.submit(n) for n in range(20)]\n"
        "[job() for job in jobs]\ncluster.print_status()\ncluster.close()\n"
    )
    said = sight.yard.run("master", f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    printed = {cells[0].strip(): cells for line in said.splitlines() if len(cells := line.split("|")) == 7}
    row = until(lambda: next((r for r in sight.get("/runs?search=compute")["runs"] if r["ended"]), None))
    told = {name: (jobs, busy) for name, jobs, _, busy in sight.get(f"/runs/{row['run']}")["story"]["workers"]}

    assert (row["done"], row["failed"]) == (19, 1)
    assert {name: jobs for name, (jobs, _) in told.items()} == {name: int(printed[name][2]) for name in told}
    for name, (_, busy) in told.items():
        assert abs(busy - float(printed[name][4])) < 0.1
