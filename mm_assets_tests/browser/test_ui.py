"""What a person sees: the graph, every asset's page with its pictures, the jobs, and a run that is cancelled."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from mm_assets_tests.browser.server import Server, dagster_dev, wait_for
from mm_assets_tests.project import Project

pytestmark = [pytest.mark.browser, pytest.mark.ray]

Shoot = Callable[[Page, str], None]
SLOW_MS = 60_000
SHOW = "[Show Markdown]"
# The pictures of each asset's newest event; the first one is shot.
PICTURES = {
    "raw_images": ["preview_labels"],
    "image_table": ["preview_images", "preview_refused", "preview_sizes"],
    "scores/sharpness": ["preview_sharpness"],
    "scores/exposure": ["preview_luminance", "preview_clipped"],
    "scores/entropy": ["preview_entropy"],
    "scores/phash": [],
    "scores/near_duplicates": ["preview_groups"],
    "base_model": [],
    "sft_dataset": ["preview_balance"],
    "llava_checkpoint": ["preview_loss"],
    "evaluation": ["preview_confusion", "preview_recall"],
    "batch_predictions": ["preview_answers", "preview_predicted", "preview_confidence"],
}
LOADED = "images => images.length > 0 && images.every(image => image.complete && image.naturalWidth > 100)"


def test_the_graph_shows_every_asset(server: Server, page: Page, shoot: Shoot) -> None:
    page.goto(f"{server.url}/asset-groups")
    for group in ("ingest", "score", "curate", "base", "finetune", "evaluate", "predict"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible(timeout=SLOW_MS)
    shoot(page, "groups")
    page.mouse.click(1200, 900)
    page.keyboard.press("Alt+KeyE")
    for asset in PICTURES:
        expect(page.get_by_text(asset.split("/")[-1], exact=True).first).to_be_attached(timeout=SLOW_MS)
    shoot(page, "graph")


@pytest.mark.parametrize("asset", PICTURES)
def test_an_assets_page_shows_what_it_is_and_its_pictures(
    finished: Project, server: Server, page: Page, shoot: Shoot, asset: str
) -> None:
    name, record = asset.replace("/", "-"), finished.newest()[asset]
    page.goto(f"{server.url}/assets/{asset}?view=overview")
    for heading in ("Description", "Columns", "Owners", "Kinds", "Group"):
        expect(page.get_by_text(heading, exact=True).first).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_text(f"{record.metadata['rows']:,}", exact=True).first).to_be_visible()
    shoot(page, f"asset-{name}")
    page.goto(f"{server.url}/assets/{asset}?view=events")
    for words in (
        str(finished.tables.uri(record.ref.table)),
        "lance_version",
        "rows_per_second",
        "inputs",
        "column_sources",
    ):
        expect(page.get_by_text(words, exact=True).first).to_be_attached(timeout=SLOW_MS)
    for number, picture in enumerate(PICTURES[asset]):
        row = page.locator("tr").filter(has_text=picture)
        row.get_by_text(SHOW).first.click()
        dialog = page.get_by_role("dialog")
        expect(dialog.locator("img").first).to_be_visible(timeout=SLOW_MS)
        found = dialog.locator("img")
        wait_for(lambda found=found: found.evaluate_all(LOADED), 10, f"the images of {picture}")  # type: ignore[misc]
        shoot(page, f"asset-{name}-{number}")
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)


def test_the_pictures_are_legible_in_the_dark(server: Server, browser: Browser, shoot: Shoot) -> None:
    context = browser.new_context(viewport={"width": 1600, "height": 1000}, color_scheme="dark")
    page = context.new_page()
    page.goto(f"{server.url}/settings")
    page.evaluate("localStorage.setItem('dagster-theme', JSON.stringify('Dark'))")
    page.goto(f"{server.url}/assets/batch_predictions?view=events")
    page.locator("tr").filter(has_text="preview_answers").get_by_text(SHOW).first.click()
    expect(page.get_by_role("dialog").locator("img").first).to_be_visible(timeout=SLOW_MS)
    shoot(page, "dark-predictions")
    context.close()


def test_the_launchpad_suggests_a_configuration(server: Server, page: Page, shoot: Shoot) -> None:
    page.goto(f"{server.url}/jobs")
    for job in ("whole_graph", "refresh_without_training", "train_and_evaluate"):
        expect(page.get_by_text(job, exact=True).first).to_be_visible(timeout=SLOW_MS)
    page.goto(f"{server.url}/locations/mm_assets.definitions/jobs/train_and_evaluate/playground")
    expect(page.get_by_text("No errors").first).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".CodeMirror").get_by_text("force").first).to_be_visible()
    shoot(page, "launchpad")


def test_a_cancelled_run_ends_its_ray_work_and_leaves_the_tables(modest: Project, page: Page, shoot: Shoot) -> None:
    modest.env["MM_TRAIN__EPOCHS"] = "500"
    before = modest.table_versions()
    with dagster_dev(modest) as server:
        page.goto(f"{server.url}/assets/llava_checkpoint?view=overview")
        page.get_by_text("Materialize", exact=True).first.click(timeout=SLOW_MS)
        page.get_by_text("View", exact=True).first.click(timeout=SLOW_MS)
        page.get_by_text("steps/s").first.wait_for(timeout=3 * SLOW_MS)  # the training says how far it is
        assert working()
        page.get_by_role("button", name="Terminate").first.click()
        clicked = time.monotonic()
        page.get_by_role("dialog").get_by_role("button", name="Terminate").click()
        wait_for(lambda: not working(), 10, "the end of the workers")
        print(f"no worker was left {time.monotonic() - clicked:.1f} s after the click")
        expect(page.get_by_text("Canceled").first).to_be_visible(timeout=SLOW_MS)
        shoot(page, "cancelled")
    assert modest.table_versions() == before
    models = {row["digest"] for row in modest.tables.open("models").to_table(columns=["digest"]).to_pylist()}
    assert {path.name for path in Path(modest.lake, "models").iterdir()} == models
    modest.env["MM_TRAIN__EPOCHS"] = "1"
    modest.materialize("llava_checkpoint")  # and nothing stands in the way of the next run
    assert modest.table_versions() == before


def working() -> list[str]:
    """The workers that train, wherever they are: one that lost its parent is nobody's child."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and b"RayTrainWorker" in (folder / "cmdline").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found
