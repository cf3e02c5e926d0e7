"""A real Chromium on a running `dagster dev`; skipped by name where there is no Chromium, or no Playwright."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mm_assets_tests.kit.dagster_dev import Server, dagster_dev
from mm_assets_tests.kit.project import Project

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
SIZE = {"width": 1600, "height": 1000}


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """One browser for a module; Playwright keeps an event loop in this thread while it is open."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: browser tests need it (apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: browser tests need it")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def server(browser: "Browser", finished: Project) -> Iterator[Server]:
    """The UI over the finished graph; nothing is changed there."""
    with dagster_dev(finished) as running:
        yield running


@pytest.fixture(scope="module")
def window(browser: "Browser") -> "Iterator[BrowserContext]":
    """What a person has open all day: the UI's scripts are loaded once."""
    context = browser.new_context(viewport=SIZE, color_scheme="light")
    yield context
    context.close()


@pytest.fixture
def page(window: "BrowserContext") -> "Iterator[Page]":
    opened = window.new_page()
    yield opened
    if opened.url.startswith("http"):
        opened.evaluate("localStorage.clear()")  # what was folded or shown is the next test's to choose
    opened.close()


@pytest.fixture(scope="session")
def shoot(tmp_path_factory: pytest.TempPathFactory) -> "Callable[[Page, str], None]":
    """Keep a screenshot, in the folder that SCREENSHOTS names, or among pytest's own."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)

    def keep(page: "Page", name: str) -> None:
        page.screenshot(path=str(folder / f"{name}.png"), animations="disabled")

    return keep
