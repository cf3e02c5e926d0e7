"""Real photos through the same graph: what the evaluation says of a model that learned little, and how the graph
settles by itself under `dagster dev`, where photos come, change and go.
"""

import json
import shutil
from pathlib import Path

import pytest

from mm_assets_tests.kit.dagster_dev import Server, dagster_dev, wait_for
from mm_assets_tests.kit.project import Project, copy_of

pytestmark = pytest.mark.ray

# Photos of each of six classes: enough for every split, and for an interval.
PER_CLASS = 60

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


@pytest.fixture(scope="module")
def finished_rooms(tmp_path_factory: pytest.TempPathFactory, test_data: Path, cluster: object) -> Project:
    """Real photos of six classes, and everything made from them."""
    folder = tmp_path_factory.mktemp("rooms")
    for label in sorted((test_data / "photos" / "rooms").iterdir()):
        (folder / "kept" / label.name).mkdir(parents=True)
        for path in sorted(label.iterdir())[:PER_CLASS]:
            shutil.copy2(path, folder / "kept" / label.name)
    shutil.copytree(folder / "kept", folder / "photos")
    # The behaviour of the graph, not of the model.
    project = Project(folder / "lake", folder / "photos", folder / "home", {"MM_TRAIN__EPOCHS": "1"})
    project.materialize()
    return project


def test_the_decision_follows_the_interval(finished_rooms: Project) -> None:
    newest = finished_rooms.newest()
    assert newest["image_table"].metadata["rows"] == newest["batch_predictions"].metadata["rows"] == 6 * PER_CLASS
    assert newest["image_table"].metadata["rows_failed"] == 0
    said = newest["evaluation"].metadata
    assert said["promoted"] == (said["interval"][0] > 0 and said["accuracy"] >= 0.6)
    assert sum(sum(row.values()) for row in said["confusion"].values()) == said["rows"]


def stir(folder: Path, others: Path) -> None:
    """Add 15 photos, put others in the place of 5, and take 3 away."""
    new = [path for label in sorted(others.iterdir()) for path in sorted(label.iterdir())[:4]]
    for path in new[:15]:
        shutil.copy2(path, folder / path.parent.name / f"new-{path.name}")
    for number, path in enumerate(new[15:20]):
        shutil.copyfile(path, sorted((folder / path.parent.name).glob("0*"))[number])
    for label in sorted(folder.iterdir())[:3]:
        sorted(label.glob("0*"))[-1].unlink()


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
    finished_rooms: Project, tmp_path: Path, test_data: Path
) -> None:
    project = copy_of(finished_rooms, tmp_path)
    project.env |= AUTOMATION
    before, recorded = project.data_versions(), project.newest()
    with dagster_dev(project) as server:
        wait_for(
            lambda: said(server, "source_changed") == f"{6 * PER_CLASS} objects, nothing changed",
            120,
            lambda: said(server, "source_changed"),
        )
        stir(Path(project.source), test_data / "photos" / "rooms_eval")
        wait_for(lambda: settled(project, before), 420, lambda: f"the graph to settle: {project.data_versions()}")
        wait_for(lambda: not server.ask(UNFINISHED)["runsOrError"]["results"], 120, lambda: "the last run's end")
        enough = "of 1,000 new training examples"
        wait_for(lambda: enough in said(server, "training"), 60, lambda: f"{enough}: {said(server, 'training')}")
    newest = project.newest()
    assert newest["llava_checkpoint"] == recorded["llava_checkpoint"]
    assert {name: computed(project, name) for name in EXACTLY} == dict.fromkeys(EXACTLY, 20)
    assert newest["raw_images"].metadata["rows_removed"] == newest["image_table"].metadata["rows_removed"] == 3
    assert newest["batch_predictions"].metadata["rows"] == 6 * PER_CLASS + 12
    status = json.loads(project.command("status", "--json", module="mm-assets").stdout)
    assert {row["asset"]: row["data_version"] for row in status} == project.data_versions()
    moved = {name for name, version in project.data_versions().items() if version != before[name]}
    assert moved >= {"raw_images", "image_table", *SCORERS, "sft_dataset", "batch_predictions"}
    proof = project.command("verify", "--deep", module="mm-assets")
    assert proof.returncode == 0, proof.stdout
