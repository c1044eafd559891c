"""Pictures of every view of the page, for people to look at: scripts/page-pictures.

A real cluster with long names, failures, a lost worker, a run that was cancelled and one of many jobs; each view in
three widths, light and dark.  What is wider than its window, or cut without a sign, is listed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.harness import Yard, until
from tests.page.browser import browser, open_page
from tests.page.screenshots import Sight

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZES = ((360, 780), (1440, 900), (1920, 1080))
LONG_NAME = "a-raspberry-pi-in-the-attic-with-a-name-as-long-as-one-may-be"
BEGIN = "import sys, time\nfrom octapi import Cluster\n"
SCRIPTS = {
    "failures": BEGIN + (
        "def render_a_picture_of_the_night_sky_with_its_stars(n):\n"
        "    if n % 9 == 7:\n        raise ValueError(f'pixel {n} is out of the picture')\n"
        "    print('row', n)\n    time.sleep(0.02)\n    return n\n"
        "def weigh(n):\n    time.sleep(0.01)\n    return n\n"
        "with Cluster() as cluster:\n"
        "    both = (render_a_picture_of_the_night_sky_with_its_stars, weigh)\n"
        "    jobs = [cluster.submit(f, n) for n in range(60) for f in both]\n"
        "    [job.exception() for job in jobs]\n"
    ),
    "cancelled": BEGIN + (
        "def doze(n):\n    time.sleep(n)\n"
        "with Cluster() as cluster:\n"
        "    jobs = [cluster.submit(doze, 0.1) for _ in range(10)] + [cluster.submit(doze, 600) for _ in range(40)]\n"
        "    [job.result() for job in jobs[:10]]\n"
        "    [job.cancel() for job in jobs[10:]]\n"
    ),
    "many": BEGIN + "with Cluster() as cluster:\n    print(sum(cluster.map(abs, range({many}))))\n",
    "goes-on": BEGIN + (
        "def doze(n):\n    time.sleep(n)\n"
        "with Cluster() as cluster:\n    jobs = [cluster.submit(doze, 0.2 + n % 3) for n in range(4000)]\n"
        "    [job.exception() for job in jobs]\n"
    ),
}  # fmt: skip
#: what is wider than its window, and what is cut without "…"
LOOK = """() => {
  const found = [];
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) found.push(`page is ${wide} wide`);
  for (const node of document.querySelectorAll("main *")) {
    const style = getComputedStyle(node), box = node.getBoundingClientRect();
    if (!box.width || node.closest(".visually-hidden")) continue;
    const name = `${node.tagName.toLowerCase()}.${node.className?.baseVal ?? node.className}`;
    if (node.scrollWidth > node.clientWidth + 1 && ["auto", "scroll"].includes(style.overflowX) && !node.matches("pre"))
      found.push(`${name} scrolls: ${node.scrollWidth} in ${node.clientWidth}`);
    if (node.scrollWidth > node.clientWidth + 1 && style.overflowX === "hidden" && style.textOverflow !== "ellipsis")
      found.push(`${name} is cut: ${node.scrollWidth} in ${node.clientWidth}`);
    if (node.tagName === "dd" || node.matches(".total dd"))
      if (node.scrollWidth > node.clientWidth + 1) found.push(`the number ${node.textContent} is cut`);
  }
  for (const text of document.querySelectorAll("svg text")) {
    const box = text.getBoundingClientRect(), frame = text.ownerSVGElement.getBoundingClientRect();
    if (box.left < frame.left - 1 || box.right > frame.right + 1) found.push(`axis text "${text.textContent}" is cut`);
  }
  return [...new Set(found)];
}"""


class Stage:
    """The cluster that is looked at."""

    def __init__(self, place: Path, many: int) -> None:
        self.yard = Yard(place)
        self.sight = Sight(self.yard)
        self.workers = self.sight.workers(2, 2)
        token = self.yard.token()
        for name in (LONG_NAME, "green"):
            self.workers.append(self.yard.worker(name, token, "--slots", "2", "--host", "127.0.0.1", home=name[:8]))
        self.runs: dict[str, str] = {}
        for name in ("failures", "cancelled", "many"):
            self.run(name, SCRIPTS[name].format(many=many) if name == "many" else SCRIPTS[name])
        self.yard.script("master", SCRIPTS["goes-on"])
        self.runs["goes-on"] = until(lambda: next((row["run"] for row in self.rows() if not row["ended"]), ""))
        self.workers[-1].stop(signal.SIGKILL)
        until(lambda: "green" not in {row["name"] for row in self.sight.get("/workers")["workers"]}, 60)

    def rows(self) -> list[dict[str, Any]]:
        """Return the runs, as the page tells them."""
        found: list[dict[str, Any]] = self.sight.get("/runs")["runs"]
        return found

    def run(self, name: str, code: str) -> None:
        """Run a script to its end."""
        known = {row["run"] for row in self.rows()}
        self.yard.run("master", code)
        self.runs[name] = until(
            lambda: next((r["run"] for r in self.rows() if r["run"] not in known and r["ended"]), "")
        )

    def views(self) -> dict[str, str]:
        """Return the views and their places in the page."""
        runs = {f"run-{name}": f"runs/{run}" for name, run in self.runs.items()}
        return {"cluster": "", "runs": "runs", **runs, "devices": "devices", "join": "join"}


def settle(page: Page, view: str) -> None:
    """Wait until a view shows what it has."""
    page.wait_for_selector("main h1", state="attached")
    if view == "join":
        page.get_by_role("button", name="Make the line").click()
        page.wait_for_selector(".join-line")
    if view.startswith("run-"):
        page.wait_for_selector(".run-totals dd")
    page.wait_for_function("() => new Promise(done => requestAnimationFrame(() => setTimeout(() => done(true), 1200)))")


def main() -> None:
    """Make them."""
    parser = argparse.ArgumentParser(prog="scripts/page-pictures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("page-pictures"), help="directory for the pictures")
    parser.add_argument("--many", type=int, default=300_000, help="jobs of the largest run")
    parser.add_argument("--only", default="", help="views, with commas")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    stage = Stage(Path(tempfile.mkdtemp(prefix="octapi-pictures-")), options.many)
    try:
        with browser() as found:
            link = f"http://127.0.0.1:{stage.sight.port}/login?token={stage.sight.token}"
            for width, height in SIZES:
                for scheme in ("light", "dark"):
                    page = open_page(found, link, width, height, scheme)
                    for view, place in stage.views().items():
                        if options.only and view not in options.only.split(","):
                            continue
                        page.evaluate("place => { location.hash = `#/${place}` }", place)
                        settle(page, view)
                        page.screenshot(path=options.out / f"{view}-{width}-{scheme}.png", full_page=True)
                        if scheme == "light":
                            for line in page.evaluate(LOOK):
                                print(f"{view} at {width}: {line}", flush=True)
                    page.context.close()
    finally:
        stage.yard.close()
    print(f"The pictures are in {options.out}.", file=sys.stderr)


if __name__ == "__main__":
    main()
