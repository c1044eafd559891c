"""The page in a real browser, with a real master and workers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.harness import Running, Yard, until
from tests.page.browser import browser, open_page
from tests.page.screenshots import Sight

HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
BEGIN = "import time\nfrom octapi import Cluster\n"
MIXED = BEGIN + (
    "def render(n):\n"
    "    if n == 7:\n        raise ValueError('pixel out of the picture')\n"
    "    print('row', n)\n    time.sleep(0.05)\n    return n\n"
    "with Cluster() as cluster:\n"
    "    jobs = [cluster.submit(render, n) for n in range(30)]\n"
    "    [job.exception() for job in jobs]\n"
)
LONG = BEGIN + (
    "def doze(n):\n    time.sleep(n)\n"
    "with Cluster() as cluster:\n"
    "    jobs = [cluster.submit(doze, 600) for _ in range(9)]\n"
    "    [job.exception() if not job.cancelled() else None for job in jobs]\n"
    "    print('all over')\n"
)


class Scene:
    """A master with three workers, and a browser."""

    def __init__(self, sight: Sight, found: Browser, workers: list[Running]) -> None:
        self.sight = sight
        self.browser = found
        self.workers = workers

    def page(self, *arguments: str, **options: Any) -> Page:
        """Open the page with a new link."""
        token = self.sight.new_token(*arguments)
        return open_page(self.browser, f"http://127.0.0.1:{self.sight.port}/login?token={token}", **options)

    def go(self, page: Page, view: str) -> None:
        """Go to a view."""
        page.evaluate("view => { location.hash = view }", f"#/{view}")

    def run(self, page: Page, script: str = "-c") -> str:
        """Run a script that ends, and show its run; return its name."""
        known = {row["run"] for row in self.sight.get("/runs")["runs"]}
        self.sight.yard.run("master", script)
        name: str = until(
            lambda: next(
                (r["run"] for r in self.sight.get("/runs")["runs"] if r["run"] not in known and r["ended"]), ""
            )
        )
        self.go(page, f"runs/{name}")
        return name


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Scene]:
    yard = Yard(tmp_path_factory.mktemp("scene"))
    sight = Sight(yard)
    yield Scene(sight, chromium, sight.workers(3, 2))
    yard.close()


def test_the_link_lets_in_and_its_token_does_not_stay_in_the_address(scene: Scene) -> None:
    """The cluster is seen, live, with every worker; scripts cannot read the cookie."""
    page = scene.page()

    expect(page.get_by_role("heading", name="pi-3")).to_be_visible()
    expect(page.locator(".total.workers dd")).to_have_text("3")
    expect(page.locator(".total.slots dd")).to_have_text("6")
    assert "token" not in page.url
    assert page.evaluate("document.cookie") == ""
    assert page.errors == []


def test_a_wrong_token_is_refused_with_what_to_do(scene: Scene) -> None:
    """The browser is told how to get a link."""
    page = open_page(scene.browser, f"http://127.0.0.1:{scene.sight.port}/login?token=abcdef.wrong")
    expect(page.get_by_text("octapi page")).to_be_visible()
    expect(page.get_by_role("heading", name="pi-1")).to_have_count(0)


def test_a_run_is_seen_live_and_its_failure_comes_first_with_its_traceback(scene: Scene) -> None:
    """Progress, one sentence, the cause with arguments and worker, the timeline, the table, output."""
    page = scene.page()
    name = scene.run(page, MIXED)

    expect(page.get_by_role("heading", name="1 job failed, for 1 reason")).to_be_visible()
    cause = page.locator(".cause")
    expect(cause).to_contain_text("ValueError pixel out of the picture")
    expect(cause.locator(".pairs")).to_contain_text("render(7)")
    expect(cause.locator(".traceback")).to_contain_text("Traceback (most recent call last)")
    expect(page.locator(".bar-words")).to_have_text("30 jobs, over")
    expect(page.locator(".sentence")).to_contain_text("times as fast as one core")
    expect(page.locator(".timeline .job")).to_have_count(30)
    expect(page.locator(".output").last).to_contain_text("row 29")
    for table in ("Who did what", "What each function took"):
        jobs = page.get_by_role("group", name=table).locator("td[data-title=Jobs]")
        assert sum(int(cell) for cell in jobs.all_inner_texts()) == 30
    assert name in page.url
    assert page.errors == []


def test_a_job_and_then_the_run_are_stopped_by_hand(scene: Scene) -> None:
    """The script learns of both."""
    page = scene.page()
    script = scene.sight.yard.script("master", LONG)
    page.locator(".mini-runs a").first.click()

    page.get_by_role("button", name="Stop doze on").first.click()
    expect(page.locator(".run-totals .cancelled dd")).to_have_text("1")
    page.get_by_role("button", name="Stop this run").click()
    page.get_by_role("button", name="Stop it").click()
    expect(page.locator(".bar-words")).to_contain_text("over")

    script.until_says("all over", 60)


def test_whoever_may_only_look_sees_no_button_that_acts(scene: Scene) -> None:
    """Neither on devices nor on the page to join; and the server would refuse."""
    page = scene.page("--view")
    scene.go(page, "devices")
    expect(page.get_by_role("button", name="Health of pi-1")).to_be_visible()
    expect(page.get_by_role("button", name="Remove pi-1")).to_have_count(0)
    scene.go(page, "join")
    expect(page.get_by_text("Your link is to look only")).to_be_visible()
    code = (
        "fetch('api/v1/join', {method: 'POST', body: '{}', headers: {'x-octapi': '1'}}).then(answer => answer.status)"
    )
    assert page.evaluate(code) == 403


def test_another_site_cannot_act_with_the_browsers_cookie(scene: Scene) -> None:
    """A form and a script on another origin are both refused, because the cookie stays at home."""
    page = scene.page()
    context = page.context
    evil = context.new_page()
    evil.route("http://evil.example/", lambda route: route.fulfill(body="<h1>evil</h1>", content_type="text/html"))
    evil.goto("http://evil.example/")
    base = f"http://127.0.0.1:{scene.sight.port}"
    code = f"fetch('{base}/api/v1/join', {{method: 'POST', credentials: 'include', mode: 'no-cors', body: '{{}}'}})"
    answers: list[int] = []
    evil.on("response", lambda answer: answers.append(answer.status) if "/join" in answer.url else None)
    evil.evaluate(f"{code}.catch(() => 0)")
    with evil.expect_navigation():
        evil.evaluate(
            f"const form = document.createElement('form'); form.method = 'post'; form.action = '{base}/api/v1/join';"
            "document.body.append(form); form.submit()"
        )
    assert set(answers) <= {401, 403}
    assert "line" not in evil.content()


def test_a_job_named_script_is_shown_and_not_run(scene: Scene) -> None:
    """Function names, arguments, output, messages and names of scripts are text."""
    page = scene.page()
    code = BEGIN + (
        f"evil = {HOSTILE!r}\n"
        "def work(text):\n    print(text)\n    raise ValueError(text)\n"
        "work.__name__ = work.__qualname__ = evil\n"
        "import sys\nsys.argv[0] = evil.replace('/', '')\n"
        "with Cluster() as cluster:\n"
        "    cluster.submit(work, evil).exception()\n"
    )
    scene.run(page, code)

    expect(page.locator(".cause .message")).to_contain_text("<script>window.hacked=1</script>")
    expect(page.locator(".output").last).to_contain_text("<img src=x")
    for view in ("", "runs", "devices"):
        scene.go(page, view)
        expect(page.locator("main h1, main h2").first).to_be_attached()
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img").count() == 0


def test_a_worker_that_is_killed_turns_at_once(scene: Scene) -> None:
    """Its card says since when it is not here, and what happened is told."""
    page = scene.page()
    token = scene.sight.yard.token()
    extra = scene.sight.yard.worker("pi-extra", token, "--host", "127.0.0.1")
    expect(page.get_by_role("heading", name="pi-extra")).to_be_visible()

    extra.process.kill()

    expect(page.locator(".worker.lost", has_text="pi-extra")).to_contain_text("not here since")
    expect(page.locator(".worker:not(.lost)", has_text="pi-extra")).to_have_count(0)
    expect(page.locator(".events .left").first).to_contain_text("pi-extra")


@pytest.mark.parametrize(("width", "height", "scheme"), [(360, 740, "dark"), (1280, 900, "light")])
def test_people_with_any_screen_and_helper_can_use_it(scene: Scene, width: int, height: int, scheme: str) -> None:
    """No view has a finding of axe that is serious, and none is wider than a phone."""
    page = scene.page(width=width, height=height, scheme=scheme)
    scene.run(page, MIXED)
    expect(page.locator(".timeline .job").first).to_be_visible()
    name = page.url.rpartition("/")[2]
    waits: dict[str, Callable[[], Any]] = {
        f"runs/{name}": lambda: expect(page.locator(".timeline .job").first).to_be_visible(),
        "": lambda: expect(page.locator(".total.workers dd")).to_have_text("3"),
        "runs": lambda: expect(page.locator("table tbody tr").first).to_be_visible(),
        "devices": lambda: expect(page.locator("table tbody tr").first).to_be_visible(),
        "join": lambda: expect(page.get_by_role("button", name="Make the line")).to_be_visible(),
        "projector": lambda: expect(page.locator(".projector .ring")).to_be_visible(),
    }
    for view, wait in waits.items():
        scene.go(page, view)
        wait()
        serious = [
            f"{row['id']}: {row['nodes'][0]['html'][:200]} {row['nodes'][0].get('failureSummary', '')}"
            for row in Axe().run(page).response["violations"]
            if row["impact"] in ("serious", "critical")
        ]
        assert serious == [], f"view {view!r}"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.errors == []


def test_the_keyboard_alone_reaches_everything(scene: Scene) -> None:
    """From the address to a view and to what is in it, in the order in which it is seen."""
    page = scene.page()
    expect(page.get_by_role("heading", name="pi-1")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to content")).to_be_focused()
    page.get_by_role("link", name="Devices").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    page.get_by_role("button", name="Remove pi-2").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_text("pi-2", exact=True)).to_be_visible()


def test_plots_are_saved_as_pictures_and_tables_as_text(scene: Scene) -> None:
    """PNG, SVG without a style sheet, and CSV in which nothing is a formula."""
    page = scene.page()
    scene.run(page, MIXED)
    saved = {}
    for kind in ("PNG", "SVG"):
        with page.expect_download() as waiting:
            page.locator(".plot").get_by_role("button", name=kind).first.click()
        saved[kind] = waiting.value.path().read_bytes()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save Who did what as CSV").click()
    table = waiting.value.path().read_text()

    assert saved["PNG"].startswith(b"\x89PNG")
    assert b"<svg" in saved["SVG"]
    assert b"class=" not in saved["SVG"]
    assert table.splitlines()[0] == "Node,Jobs,Failed,Sec/Job,Node Time Sec"
    cells = page.evaluate("import('./static/dom.js').then(dom => dom.csv(['a'], [['=1+1'], ['-3'], ['say \"x\", y']]))")
    assert cells.split("\r\n")[1:4] == ["'=1+1", "-3", '"say ""x"", y"']


def test_a_device_joins_with_the_line_that_was_copied(scene: Scene) -> None:
    """The page makes it, shows it as a QR code, and says when the device is in."""
    page = scene.page()
    scene.go(page, "join")
    page.get_by_role("button", name="Make the line").click()
    line = page.locator(".join-line.joins code").inner_text()
    expect(page.get_by_role("img", name="QR code of the line")).to_be_visible()

    assert page.locator(".join-line").count() >= 3
    expect(page.get_by_text("A device without OctaPi").first).to_be_visible()
    scene.sight.yard.worker("pi-joined", line.split()[-1], "--host", "127.0.0.1").stop()

    expect(page.get_by_text("pi-joined joined.")).to_be_visible()


def test_the_page_says_that_the_master_is_away_and_comes_back_by_itself(yard: Yard, chromium: Browser) -> None:
    """With the time since when; runs of before are still there, with their story."""
    sight = Sight(yard)
    sight.workers(1)
    ports = ports_of(sight)
    scene = Scene(sight, chromium, [])
    page = scene.page()
    name = scene.run(page, MIXED)
    expect(page.locator(".bar-words")).to_have_text("30 jobs, over")
    scene.go(page, "")
    expect(page.get_by_role("heading", name="pi-1")).to_be_visible()

    sight.master.stop()
    expect(page.get_by_role("alert")).to_contain_text("does not answer since")
    again = yard.master("--page", "--page-port", str(sight.port), ports=ports)
    again.until_says("page at port")

    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.get_by_role("heading", name="pi-1")).to_be_visible()
    scene.go(page, f"runs/{name}")
    expect(page.locator(".bar-words")).to_have_text("30 jobs, over")
    expect(page.locator(".cause .traceback")).to_contain_text("Traceback")
    expect(page.locator(".timeline .job")).to_have_count(30)


def ports_of(sight: Sight) -> tuple[str, str, str]:
    """Return the ports of a master."""
    from tests import harness

    found = harness.ports_of(sight.master)
    return str(found["join"]), str(found["clients"]), str(found["dask"])


def test_compared_runs_are_points_on_one_plot(scene: Scene) -> None:
    """Two runs of one script, chosen in the list."""
    page = scene.page()
    scene.run(page, MIXED)
    scene.run(page, MIXED)
    scene.go(page, "runs")
    boxes = page.get_by_role("checkbox")
    expect(boxes.nth(1)).to_be_visible()
    boxes.nth(0).check()
    boxes.nth(1).check()

    expect(page.get_by_text("Comparison", exact=True)).to_be_visible()
    expect(page.locator(".speedups .point")).to_have_count(2)


def test_an_empty_cluster_teaches(yard: Yard, chromium: Browser) -> None:
    """It says what to run, on the first look."""
    scene = Scene(Sight(yard), chromium, [])
    page = scene.page()
    expect(page.get_by_role("heading", name="No worker yet")).to_be_visible()
    expect(page.get_by_text("octapi worker TOKEN")).to_be_visible()
    scene.go(page, "runs")
    expect(page.get_by_role("heading", name="No run yet")).to_be_visible()
