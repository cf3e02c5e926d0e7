"""The graph on a Ray cluster that somebody else started: code is shipped, and a lost node costs time alone."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mm_assets.engines.workers.cluster import Cluster, ClusterSettings
from mm_assets.lineage.errors import RefusalError
from mm_assets_tests.kit.project import QUICK, Project
from mm_assets_tests.kit.ray_nodes import RayNodes, ray_nodes

pytestmark = pytest.mark.ray

MODULE = ("-m", "mm_assets.definitions")
# Stops the first worker that scores an image, until its node is killed.
STOPPING = '''
import os, time
import pyarrow as pa
from mm_assets.scoring import scorer

@scorer("1", number=pa.float32())
def stopping(image):
    """Stops once."""
    try:
        os.close(os.open({marker!r}, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return {{"number": float(image.width)}}
    time.sleep(300)
'''


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    with ray_nodes(tmp_path_factory.mktemp("nodes")) as found:
        yield found


def wait_for(what: Callable[[], Any], seconds: float = 180) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.02)
    return found


def cells(project: Project, table: str, *columns: str) -> list[dict[str, Any]]:
    return sorted(project.tables.open(table).to_table(columns=list(columns)).to_pylist(), key=lambda row: str(row))


def test_lost_nodes_change_nothing(nodes: RayNodes, undisturbed: Project, tmp_path: Path) -> None:
    mine, marker = tmp_path / "mine", tmp_path / "scoring"
    mine.mkdir()
    (mine / "stopping.py").write_text(STOPPING.format(marker=str(marker)))
    more = {
        "MM_SHARED_FOLDERS": "true",
        "MM_SCORE__OWN": '["stopping:stopping"]',
        "MM_SCORE__BATCH_ROWS": "64",
        "MM_PREDICT__ACTORS": "2",
    }
    project = Project(
        tmp_path / "lake", undisturbed.source, tmp_path / "home", {**QUICK, **more, **nodes.environment()}
    )

    scoring = project.spawn(
        "asset", "materialize", "--select", "raw_images,image_table,key:scores/*", *MODULE, cwd=mine
    )
    wait_for(lambda: marker.exists() or scoring.poll() is not None)
    # Both workers hold actors; the one that stopped may be on either, so both are killed, one after the other.
    nodes.start_worker("third")
    nodes.kill("first")
    nodes.start_worker("fourth")
    nodes.kill("second")
    assert scoring.wait(timeout=300) == 0, project.log.read_text()[-3000:]

    predicting = project.spawn("asset", "materialize", "--select", "*", *MODULE, cwd=mine)
    wait_for(
        lambda: (
            (project.tables.exists("predictions") and project.tables.open("predictions").version > 2)
            or predicting.poll() is not None
        ),
        seconds=300,
    )
    nodes.kill(nodes.working()[0])
    assert project.tables.open("predictions").count_rows() < undisturbed.tables.open("predictions").count_rows()
    assert predicting.wait(timeout=300) == 0, project.log.read_text()[-3000:]

    scores = ("image_id", "sha256", "sharpness", "luminance", "clipped", "entropy", "phash", "group_id", "error")
    assert cells(project, "images", *scores) == cells(undisturbed, "images", *scores)
    assert {row["number"] for row in cells(project, "images", "number", "error") if not row["error"]} == {96.0}
    examples = ("example_id", "messages", "split", "left_out")
    assert cells(project, "sft", *examples) == cells(undisturbed, "sft", *examples)
    answers = ("id", "image_id", "model_digest", "label", "error")
    assert cells(project, "predictions", *answers) == cells(undisturbed, "predictions", *answers)


def test_folders_that_the_nodes_may_not_see_are_refused(nodes: RayNodes, some_pictures: Path, tmp_path: Path) -> None:
    project = Project(tmp_path / "lake", some_pictures, tmp_path / "home", nodes.environment())
    found = project.command("asset", "materialize", "--select", "raw_images,image_table", *MODULE)
    assert found.returncode == 1
    assert f"{some_pictures}, {project.lake} is a folder of this machine" in found.stderr
    assert "MM_SHARED_FOLDERS=true" in found.stderr
    assert not project.tables.exists("images") or project.tables.open("images").count_rows() == 0


def test_a_cluster_without_a_token_is_not_joined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ray

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(RefusalError, match="set RAY_AUTH_TOKEN"):
        Cluster(ClusterSettings(address="127.0.0.1:1")).connect()
