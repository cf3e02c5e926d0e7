"""A day at the UI: all is materialized, photos come, what follows is out of date, and a check fails and says why."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mm_assets_tests.browser.test_ui import SHOW
from mm_assets_tests.kit.dagster_dev import Server, dagster_dev, wait_for
from mm_assets_tests.kit.project import QUICK, Project

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: browser tests need it").expect

pytestmark = [pytest.mark.browser, pytest.mark.ray]

Shoot = Callable[["Page", str], None]
SLOW_MS, RUN_S = 60_000, 300
LABELS = ("beach", "gym", "pool")


@pytest.fixture
def project(tmp_path: Path, some_pictures: Path) -> Project:
    """A few pictures of each label; nothing is materialized yet."""
    for label in LABELS:
        (tmp_path / "photos" / label).mkdir(parents=True)
        for path in sorted((some_pictures / label).iterdir())[:20]:
            shutil.copy2(path, tmp_path / "photos" / label)
    return Project(tmp_path / "lake", tmp_path / "photos", tmp_path / "home", dict(QUICK))


def arrive(project: Project, some_pictures: Path) -> None:
    """Five new pictures, and a copy of one that was there, under another label."""
    photos = Path(project.source)
    for path in sorted((some_pictures / "pool").iterdir())[20:25]:
        shutil.copy2(path, photos / "pool")
    known = sorted((photos / "beach").iterdir())[0]
    shutil.copy2(known, photos / "gym" / "the same as on the beach.png")


def launched(page: "Page", server: Server, button: Any) -> None:
    """Click, follow the run, and wait until it has succeeded."""
    button.click(timeout=SLOW_MS)
    page.get_by_text("View", exact=True).first.click(timeout=SLOW_MS)
    wait_for(lambda: server.newest_run() in ("SUCCESS", "FAILURE"), RUN_S, lambda: f"a run: {server.newest_run()}")
    assert server.newest_run() == "SUCCESS"
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=SLOW_MS)


def materialized(page: "Page", server: Server, asset: str) -> None:
    page.goto(f"{server.url}/assets/{asset}?view=overview")
    launched(page, server, page.get_by_text("Materialize", exact=True).first)


def test_a_day(project: Project, some_pictures: Path, page: "Page", shoot: Shoot) -> None:
    with dagster_dev(project) as server:
        page.goto(f"{server.url}/asset-groups")
        launched(page, server, page.get_by_text("Materialize all", exact=True).first)
        shoot(page, "materialize-all")
        assert len(project.newest()) == 13

        arrive(project, some_pictures)
        materialized(page, server, "raw_images")
        page.goto(f"{server.url}/assets/image_table?view=overview")
        expect(page.get_by_text("Unsynced").first).to_be_visible(timeout=SLOW_MS)
        shoot(page, "stale")
        page.goto(f"{server.url}/locations/mm_assets.definitions/asset-groups/ingest")
        expect(page.get_by_text("Unsynced").first).to_be_visible(timeout=SLOW_MS)
        shoot(page, "stale-graph")

        materialized(page, server, "image_table")
        page.goto(f"{server.url}/assets/image_table?view=checks")
        page.get_by_text("label_conflicts", exact=True).first.click(timeout=SLOW_MS)
        said = "have a copy, byte for byte, with another label"
        expect(page.get_by_text(re.compile(said)).first).to_be_visible(timeout=SLOW_MS)
        shoot(page, "failed-check")
        page.get_by_text(SHOW).first.click()
        expect(page.get_by_role("dialog")).to_contain_text("the same as on the beach.png")
