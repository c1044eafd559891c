"""A real Chromium, driven over its own protocol; nothing is downloaded for it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


def executable() -> str:
    """Return where Chromium is.  In CI it must be; elsewhere tests without it are skipped."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("There is no Chromium. scripts/test installs it.")
    return found or pytest.skip("There is no Chromium; 'apt-get install chromium' brings it.")


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a Chromium; as root it has no sandbox of its own."""
    path = executable()
    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield found
        found.close()


def open_page(found: Browser, link: str, width: int = 1280, height: int = 900, scheme: str = "light") -> Page:
    """Open a link in a window of its own; every error in the page becomes the test's."""
    context = found.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(45_000)
    page.errors = []  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.errors.append(str(error)))  # type: ignore[attr-defined]
    page.goto(link)
    return page
