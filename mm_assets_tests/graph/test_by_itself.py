"""The graph settles by itself under `dagster dev`: real photos come, change and go, and exactly these are computed."""

import json
import shutil
from pathlib import Path

import pytest

from mm_assets_tests.browser.server import Server, dagster_dev, wait_for
from mm_assets_tests.project import QUICK, Project

pytestmark = pytest.mark.ray

OF_EACH = 20
AUTOMATION = {
    "MM_AUTOMATION__RUNNING": "true",
    "MM_AUTOMATION__SOURCE_SECONDS": "2",
    "MM_AUTOMATION__QUIET_SECONDS": "4",
    "MM_AUTOMATION__CONDITIONS_SECONDS": "2",
    "MM_AUTOMATION__MIN_NEW_EXAMPLES": "1000",
}
SCORERS = ("scores/sharpness", "scores/exposure", "scores/entropy", "scores/phash")
FOLLOWS = ("image_table", *SCORERS, "scores/near_duplicates", "sft_dataset", "batch_predictions")
# Those that compute a row for each photo that came or changed, and none else.
EXACTLY = ("raw_images", "image_table", *SCORERS, "batch_predictions")
# What an asset was made from may be older, where nobody wants it trained anew.
TRAINED = {"llava_checkpoint", "evaluation"}
UNFINISHED = """{ runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED]}) {
  ... on Runs { results { runId } } } }"""
SKIPPED = """query ($name: String!) { sensorOrError(sensorSelector: {repositoryName: "__repository__",
  repositoryLocationName: "mm_assets.definitions", sensorName: $name}) {
  ... on Sensor { sensorState { ticks(limit: 1) { status skipReason } } } } }"""


@pytest.fixture
def photos(test_data: Path) -> dict[str, list[Path]]:
    """Real photos by class."""
    rooms = test_data / "photos" / "rooms"
    return {folder.name: sorted(folder.glob("*.jpg")) for folder in sorted(rooms.iterdir())}


@pytest.fixture
def project(tmp_path: Path, photos: dict[str, list[Path]], cluster: object) -> Project:
    """Some photos of each class, and everything made from them."""
    for label, paths in photos.items():
        (tmp_path / "photos" / label).mkdir(parents=True)
        for path in paths[:OF_EACH]:
            shutil.copy2(path, tmp_path / "photos" / label)
    made = Project(tmp_path / "lake", tmp_path / "photos", tmp_path / "home", dict(QUICK))
    made.materialize()
    made.env |= AUTOMATION
    return made


def stir(folder: Path, photos: dict[str, list[Path]]) -> None:
    """Add 15 photos, put others in the place of 5, and take 3 away."""
    labels = list(photos)
    for number in range(15):
        path = photos[labels[number % len(labels)]][OF_EACH + number]
        shutil.copy2(path, folder / path.parent.name)
    for number, label in enumerate(labels[:5]):
        there = sorted((folder / label).iterdir())[0]
        shutil.copyfile(photos[label][OF_EACH + 20 + number], there)
    for label in labels[:3]:
        sorted((folder / label).iterdir())[1].unlink()


def settled(project: Project, before: dict[str, str]) -> bool:
    """Whether what was listed anew has reached everything that follows."""
    newest = project.newest()
    if newest["raw_images"].data_version == before["raw_images"]:
        return False
    inputs = [item for name in FOLLOWS for item in newest[name].inputs if item.asset not in TRAINED]
    return all(item.data_version == newest[item.asset].data_version for item in inputs)


def said(server: Server, sensor: str) -> str:
    """Why a sensor asked for nothing at its last tick."""
    ticks = server.ask(SKIPPED, name=sensor)["sensorOrError"]["sensorState"]["ticks"]
    return str(ticks[0]["skipReason"]) if ticks else ""


def computed(project: Project, asset: str) -> int:
    return int(str(project.events(asset)[0].metadata["rows_computed"].value))


def test_what_changes_in_the_source_reaches_everything_and_trains_nothing(
    project: Project, photos: dict[str, list[Path]]
) -> None:
    before, recorded = project.data_versions(), project.newest()
    with dagster_dev(project) as server:
        wait_for(
            lambda: said(server, "source_changed") == "120 objects, nothing changed",
            120,
            lambda: said(server, "source_changed"),
        )
        stir(Path(project.source), photos)
        wait_for(lambda: settled(project, before), 420, lambda: f"the graph to settle: {project.data_versions()}")
        wait_for(lambda: not server.ask(UNFINISHED)["runsOrError"]["results"], 120, lambda: "the last run's end")
        enough = "of 1,000 new training examples"
        wait_for(lambda: enough in said(server, "training"), 60, lambda: f"{enough}: {said(server, 'training')}")
    newest = project.newest()
    assert newest["llava_checkpoint"] == recorded["llava_checkpoint"]
    assert {name: computed(project, name) for name in EXACTLY} == dict.fromkeys(EXACTLY, 20)
    assert newest["raw_images"].metadata["rows_removed"] == newest["image_table"].metadata["rows_removed"] == 3
    assert newest["batch_predictions"].metadata["rows"] == 132
    status = json.loads(project.command("status", "--json", module="mm-assets").stdout)
    assert {row["asset"]: row["data_version"] for row in status} == project.data_versions()
    moved = {name for name, version in project.data_versions().items() if version != before[name]}
    assert moved >= {"raw_images", "image_table", *SCORERS, "sft_dataset", "batch_predictions"}
    proof = project.command("verify", "--deep", module="mm-assets")
    assert proof.returncode == 0, proof.stdout
