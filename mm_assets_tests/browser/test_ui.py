"""What a person sees: the graph, every asset's page with its pictures, the jobs, and a run that is cancelled."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from mm_assets_tests.browser.conftest import SIZE
from mm_assets_tests.kit.dagster_dev import Process, Server, dagster_dev, wait_for
from mm_assets_tests.kit.project import Project

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: browser tests need it").expect

pytestmark = [pytest.mark.browser, pytest.mark.ray]

Shoot = Callable[["Page", str], None]
SLOW_MS = 60_000
SHOW = "[Show Markdown]"
BORDERS = "boxes => boxes.map(box => getComputedStyle(box).borderTopColor)"
GREEN = "rgb(46, 204, 129)"
# A worker that is just starting has no title yet.
RAY = re.compile(r"^ray::|/raylet\b|/gcs_server\b|default_worker\.py")
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
    "serving_bundle": [],
}
LOADED = "images => images.length > 0 && images.every(image => image.complete && image.naturalWidth > 100)"


def test_the_graph_shows_every_asset(server: Server, page: "Page", shoot: Shoot) -> None:
    page.goto(f"{server.url}/asset-groups")
    for group in ("ingest", "score", "curate", "base", "finetune", "evaluate", "predict", "serve"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible(timeout=SLOW_MS)
    shoot(page, "groups")
    page.mouse.click(1200, 900)
    page.keyboard.press("Alt+KeyE")
    for asset in PICTURES:
        expect(page.get_by_text(asset.split("/")[-1], exact=True).first).to_be_attached(timeout=SLOW_MS)
    boxes = page.locator("[class*=minimalAssetNodeBox]")
    wait_for(lambda: boxes.evaluate_all(BORDERS) == [GREEN] * len(PICTURES), 30, lambda: "all assets to be up to date")
    shoot(page, "graph")


@pytest.mark.parametrize("asset", PICTURES)
def test_an_assets_page_shows_what_it_is(
    finished: Project, server: Server, page: "Page", shoot: Shoot, asset: str
) -> None:
    declared = finished.definitions().resolve_asset_graph().get(dg.AssetKey(asset.split("/")))
    page.goto(f"{server.url}/assets/{asset}?view=overview")
    for heading in ("Description", "Columns", "Owners", "Kinds", "Group"):
        expect(page.get_by_text(heading, exact=True).first).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_text(" ".join(str(declared.description).split()[:4])).first).to_be_visible()
    for shown in (declared.group_name, *(owner.removeprefix("team:") for owner in declared.owners), *declared.kinds):
        # The UI writes "PyTorch" and "Hugging Face".
        expect(page.get_by_text(re.compile("^" + r"\s?".join(str(shown)) + "$", re.IGNORECASE)).first).to_be_visible()
    expect(page.get_by_text(f"{finished.newest()[asset].metadata['rows']:,}", exact=True).first).to_be_visible()
    shoot(page, f"asset-{asset.replace('/', '-')}")


@pytest.mark.parametrize("asset", PICTURES)
def test_the_newest_event_shows_version_and_pictures(
    finished: Project, server: Server, page: "Page", shoot: Shoot, asset: str
) -> None:
    record = finished.newest()[asset]
    page.goto(f"{server.url}/assets/{asset}?view=events")
    page.get_by_text(re.compile("^Show tags")).first.click(timeout=SLOW_MS)
    said = {"data_version": record.data_version, "dagster/uri": finished.tables.uri(record.ref.table)}
    said |= {"dagster/row_count": str(record.metadata["rows"]), "lance_version": str(record.ref.version)}
    for name, value in said.items():
        expect(row_of(page, name).get_by_text(value, exact=True).first).to_be_visible()
    expect(row_of(page, "rows_per_second")).to_be_attached()
    for number, picture in enumerate(PICTURES[asset]):
        dialog = opened(page, picture)
        shoot(page, f"asset-{asset.replace('/', '-')}-{number}")
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)


def row_of(page: "Page", name: str) -> Any:
    """The row of a table in which a name stands alone in a cell."""
    return page.locator("tr").filter(has=page.get_by_text(name, exact=True)).first


def opened(page: "Page", picture: str) -> Any:
    """The dialog of a Markdown entry, when its images are loaded."""
    row_of(page, picture).get_by_text(SHOW).click(timeout=SLOW_MS)
    dialog = page.get_by_role("dialog")
    found = dialog.locator("img[src^='data:']")
    wait_for(lambda: found.evaluate_all(LOADED), 10, lambda: f"the images of {picture}")
    return dialog


def test_the_schema_and_the_sources_of_columns(server: Server, page: "Page", shoot: Shoot) -> None:
    page.goto(f"{server.url}/assets/image_table?view=overview")
    expect(row_of(page, "sha256")).to_contain_text("string", timeout=SLOW_MS)
    expect(row_of(page, "sha256")).to_contain_text("SHA-256 of the file's bytes")
    page.goto(f"{server.url}/assets/image_table?view=events")
    sources = row_of(page, "column_sources")
    expect(sources.get_by_role("row").filter(has_text="sha256")).to_contain_text("raw_images.source_uri")
    sources.scroll_into_view_if_needed()
    shoot(page, "column-sources")


def test_the_pictures_are_legible_in_the_dark(server: Server, browser: "Browser", shoot: Shoot) -> None:
    context = browser.new_context(viewport=SIZE, color_scheme="light")
    context.add_init_script("localStorage.setItem('dagster-theme', JSON.stringify('Dark'))")
    page = context.new_page()
    page.goto(f"{server.url}/assets/batch_predictions?view=events")
    opened(page, "preview_answers")
    expect(page.locator("body.themeDark")).to_have_count(1)
    shoot(page, "dark-predictions")
    context.close()


def test_the_launchpad_suggests_a_configuration(server: Server, page: "Page", shoot: Shoot) -> None:
    page.goto(f"{server.url}/jobs")
    for job in ("whole_graph", "refresh_without_training", "train_and_evaluate"):
        expect(page.get_by_text(job, exact=True).first).to_be_visible(timeout=SLOW_MS)
    page.goto(f"{server.url}/locations/mm_assets.definitions/jobs/train_and_evaluate/playground")
    expect(page.get_by_text("No errors").first).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".CodeMirror").get_by_text("force").first).to_be_visible()
    shoot(page, "launchpad")


def test_a_cancelled_run_ends_its_ray_work_and_leaves_the_tables(modest: Project, page: "Page", shoot: Shoot) -> None:
    modest.env["MM_TRAIN__EPOCHS"] = "500"
    before, recorded = modest.table_versions(), modest.newest()
    with dagster_dev(modest) as server:
        page.goto(f"{server.url}/assets/llava_checkpoint?view=overview")
        page.get_by_text("Materialize", exact=True).first.click(timeout=SLOW_MS)
        page.get_by_text("View", exact=True).first.click(timeout=SLOW_MS)
        page.get_by_text("steps/s").first.wait_for(timeout=3 * SLOW_MS)  # the training says how far it is
        # Named now: what outlives the run would belong to another parent.
        ray = [process for process in server.below() if RAY.search(process.title)]
        assert any("RayTrainWorker" in process.title for process in ray)
        page.get_by_role("button", name="Terminate").first.click()
        clicked = time.monotonic()
        page.get_by_role("dialog").get_by_role("button", name="Terminate").click()
        wait_for(lambda: not living(ray), 10, lambda: f"the end of {living(ray)}")
        print(f"no Ray process was left {time.monotonic() - clicked:.1f} s after the click")
        wait_for(lambda: server.newest_run() == "CANCELED", 60, lambda: f"the cancel of a run: {server.newest_run()}")
        expect(page.get_by_text("Canceled").first).to_be_visible(timeout=SLOW_MS)
        shoot(page, "cancelled")
    assert (modest.table_versions(), modest.newest()) == (before, recorded)
    models = {row["digest"] for row in modest.tables.open("models").to_table(columns=["digest"]).to_pylist()}
    assert {path.name for path in Path(modest.lake, "models").iterdir()} == models
    modest.env["MM_TRAIN__EPOCHS"] = "1"
    modest.materialize("llava_checkpoint")  # and nothing stands in the way of the next run
    assert modest.table_versions() == before


def living(processes: list[Process]) -> list[str]:
    """The titles of those that still live."""
    return [process.title for process in processes if process.lives()]
