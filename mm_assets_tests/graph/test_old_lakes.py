"""Lakes of earlier releases: nothing that was there is computed, what comes is, and the history still holds."""

import hashlib
import tarfile
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from mm_assets.cli import main
from mm_assets.demo.pictures import draw_area
from mm_assets.engines.lake.fields import since
from mm_assets.engines.lake.rows import is_in
from mm_assets.engines.lake.schemas import SCHEMA_VERSION
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.refs import version_of
from mm_assets.operations.verify.dagster_log import DagsterLog
from mm_assets.operations.verify.job import verify
from mm_assets.operations.verify.report import Report
from mm_assets.stages.curate.tables import SFT_SCHEMA
from mm_assets.stages.ingest.tables import OBJECTS_SCHEMA
from mm_assets.stages.predict.tables import PREDICTIONS_SCHEMA
from mm_assets_tests.graph.old_lakes.make import SETTINGS
from mm_assets_tests.kit.lake_rows import maintenance
from mm_assets_tests.kit.project import WITHOUT_TRAINING, Project
from mm_assets_tests.kit.tracing import all_of, one

ARCHIVES = sorted(Path(__file__).with_name("old_lakes").glob("*.tar.xz"))
# Of a table, what every commit or tag writes; and the history, which every run writes.
LOGS = {"_versions", "_transactions", "_refs", "lineage.lance"}


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def old(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A lake of an earlier release, in its working folder: its source is the folder `drawn_photos` there."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path / "lake", "drawn", tmp_path / "home", dict(SETTINGS))


def refused(*_: Any, **__: Any) -> None:
    raise AssertionError("something is computed")


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is not started: neither training nor predictions nor scores could be computed."""
    monkeypatch.setattr(Cluster, "connect", refused)


def checked(old: Project) -> Report:
    """What `mm-assets verify --deep` compares, Dagster's events too."""
    with dg.DagsterInstance.local_temp(str(old.home)) as instance:
        return verify(old.tables, lambda _: None, DagsterLog(instance), deep=True)


def sizes(lake: Path | str) -> dict[str, int]:
    """Size by path of all files of models and bundles, and of those that hold the rows of tables."""
    files = (path for path in Path(lake).rglob("*") if path.is_file() and not LOGS.intersection(path.parts))
    return {str(path.relative_to(lake)): path.stat().st_size for path in files}


def test_nothing_is_computed_anew(old: Project, no_work: None) -> None:
    before, versions, files = old.newest(), old.table_versions(), sizes(old.lake)
    assert not checked(old).disagreements
    old.materialize()
    after = old.newest()
    assert {name: record.data_version for name, record in after.items()} == {
        name: record.data_version for name, record in before.items()
    }
    assert {name: record.code_version for name, record in after.items()} == {
        name: record.code_version for name, record in before.items()
    }
    assert all(record.reused and record.id != before[name].id for name, record in after.items())
    assert (old.table_versions(), sizes(old.lake)) == (versions, files)
    found = checked(old)
    assert found.disagreements == []
    assert found.looked_at["images hashed"] > 50


@pytest.mark.ray
def test_a_picture_that_comes_is_all_that_is_computed(old: Project, cluster: Cluster) -> None:
    photos = Path("drawn_photos")
    draw_area("gym", np.random.default_rng(5)).save(photos / "gym" / "new.png")
    before = old.newest()
    old.materialize(*WITHOUT_TRAINING)
    after = old.newest()
    changed = {name for name in before if after[name].data_version != before[name].data_version}
    assert changed == set(WITHOUT_TRAINING) - {"base_model"}
    computed = {name: after[name].metadata["rows_computed"] for name in changed}
    assert computed == dict.fromkeys(changed, 1)
    digest = before["llava_checkpoint"].metadata["digest"]
    rows = old.tables.open("predictions").to_table(filter="image_id = 'gym/new.png'").to_pylist()
    assert [(row["model_digest"], row["error"]) for row in rows] == [(digest, None)]
    assert checked(old).disagreements == []


def test_an_old_prediction_leads_to_its_bytes(
    old: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One by the model that was promoted first, of an image as it was then."""
    rows = old.tables.open("predictions").to_table(filter="error is null").sort_by("image_id").to_pylist()
    promoted = old.tables.open("bundles").to_table().to_pylist()[0]["model_digest"]
    row = next(row for row in rows if row["model_digest"] == promoted)
    nodes = list(all_of(one(old.tables, row["id"]).up))
    (image,) = [node for node in nodes if node.kind == "image"]
    ds = old.tables.open("images", version_of(image.facts["data_version"]))
    rowid = ds.scanner(columns=[], filter=is_in("image_id", [row["image_id"]]), with_row_id=True).to_table()["_rowid"]
    ((_, data),) = ds.read_blobs("image", ids=rowid.to_pylist())
    assert hashlib.sha256(data).hexdigest() == row["sha256"] == image.facts["sha256"]
    assert {node.kind for node in nodes} >= {"object", "checkpoint", "commit"}
    monkeypatch.setenv("MM_LAKE", str(old.lake))
    assert main(["trace", row["id"]]) == 0
    assert row["image_id"] in capsys.readouterr().out


LATER = since(7, pa.field("note", pa.string()))
SCHEMAS = {
    "objects": ("mm_assets.stages.ingest.job.OBJECTS_SCHEMA", OBJECTS_SCHEMA),
    "sft": ("mm_assets.stages.curate.job.SFT_SCHEMA", SFT_SCHEMA),
    "predictions": ("mm_assets.stages.predict.job.PREDICTIONS_SCHEMA", PREDICTIONS_SCHEMA),
}
WRITERS = ("raw_images", "sft_dataset", "batch_predictions")


def test_a_column_of_a_later_release_moves_no_asset(
    old: Project, no_work: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, schema in SCHEMAS.values():
        monkeypatch.setattr(name, pa.schema([schema.field(0), LATER, *list(schema)[1:]]))
    before, versions, files = old.newest(), old.table_versions(), sizes(old.lake)
    known = {item.id for item in maintenance(old.tables)}
    old.materialize(*WRITERS)
    after = old.newest()
    assert {name: record.data_version for name, record in after.items()} == {
        name: record.data_version for name, record in before.items()
    }
    assert all(after[name].reused and after[name].id != before[name].id for name in WRITERS)
    assert old.table_versions() == {name: version + (name in SCHEMAS) for name, version in versions.items()}
    assert sizes(old.lake) == files  # metadata alone
    added = [item for item in maintenance(old.tables) if item.id not in known]
    assert {(item.ref.table, item.ended) for item in added} == {(name, versions[name] + 1) for name in SCHEMAS}
    for name in SCHEMAS:
        ds = old.tables.open(name)
        assert ds.schema.metadata[SCHEMA_VERSION] == b"7"
        assert ds.to_table(columns=["note"])["note"].null_count == ds.count_rows()
    found = checked(old)
    assert found.disagreements == []
    assert found.expected_leftovers["commits that added columns of a later release"] == len(SCHEMAS)
