"""What a new asset touches: a copy of the project is given one, and everything beside the graph knows it."""

import filecmp
import json
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import lance
import pytest

from mm_assets_tests.kit.project import Project

ROOT = Path(__file__).parents[2]
ASSET, TABLE = "label_counts", "tallies"

ROW = 'LABEL_COUNTS = Asset("label_counts", "tally", "tallies", DATA)\n\n'

TABLES = '''"""The columns of `tallies.lance`: one row per label."""

import pyarrow as pa

from mm_assets.catalog import RAW_IMAGES
from mm_assets.engines.lake.fields import schema_of
from mm_assets.lineage.columns import Column, Kind, sources

TALLIES = "tallies"
_LABELS = sources(RAW_IMAGES.key, "label")

TALLIES_COLUMNS = (
    Column("label", pa.string(), "The class.", _LABELS, Kind.KEY),
    Column("images", pa.int64(), "How many are listed with it.", _LABELS),
)
TALLIES_SCHEMA = schema_of(TALLIES_COLUMNS)
'''

JOB = '''"""Count the listed images by label."""

import pyarrow as pa

from mm_assets.catalog import LABEL_COUNTS, RAW_IMAGES
from mm_assets.engines.lake.changes import Synced, sync_rows
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.opening import open_table
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.stages.tally.tables import TALLIES, TALLIES_SCHEMA


def count_labels(step: StepContext, tables: Lake) -> StepResult:
    """Make `tallies.lance` equal to the counts of the pinned listing."""
    counts = tables.open_at(step.ref(RAW_IMAGES.key)).to_table(columns=["label"])["label"].drop_null().value_counts()
    rows = pa.table([counts.field("values"), counts.field("counts")], schema=TALLIES_SCHEMA)

    def result(done: Synced) -> StepResult:
        return StepResult(
            {"rows": rows.num_rows, "rows_computed": done.written}, Progress(confirmed_at=done.looked_at)
        )

    open_table(tables, step, TALLIES, TALLIES_SCHEMA, [LABEL_COUNTS.key])

    def properties(done: Synced) -> dict[str, str]:
        return step.properties([LABEL_COUNTS.key], 1, {LABEL_COUNTS.key: result(done)})

    return result(sync_rows(tables, TALLIES, "label", rows, properties))
'''

ASSETS = '''"""How many images each label has."""

import dagster as dg

from mm_assets.catalog import LABEL_COUNTS, RAW_IMAGES
from mm_assets.resources import LakeResource
from mm_assets.settings import Reads
from mm_assets.steps.keys import asset_key
from mm_assets.steps.materialize import materialize

READS: Reads = {LABEL_COUNTS.key: lambda settings: [settings.ingest.on_removed]}


@dg.asset(key=asset_key(LABEL_COUNTS), deps=[asset_key(RAW_IMAGES)], code_version="1")
def label_counts(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """One row per label: how many images are listed with it."""
    from mm_assets.stages.tally.job import count_labels
    from mm_assets.stages.tally.tables import TALLIES_COLUMNS

    columns = {LABEL_COUNTS.key: TALLIES_COLUMNS}
    return materialize(context, lake, lambda step: count_labels(step, lake.tables()), columns=columns)
'''


def insert(path: Path, before: str, text: str) -> None:
    """Put lines before the first line that begins so."""
    head, mark, tail = path.read_text().partition(before)
    assert mark, f"{path} has no {before!r}"
    path.write_text(f"{head}{text}{mark}{tail}")


def add_asset(root: Path) -> None:
    """What CONTRIBUTING says that an asset needs."""
    stage = root / "mm_assets" / "stages" / "tally"
    stage.mkdir()
    for name, text in {"__init__": '"""Counts."""\n', "tables": TABLES, "job": JOB, "assets": ASSETS}.items():
        (stage / f"{name}.py").write_text(text)
    rows = root / "mm_assets" / "catalog.py"
    insert(rows, "ASSETS = (", ROW)
    insert(rows, "    IMAGE_TABLE,\n", "    LABEL_COUNTS,\n")
    graph = root / "mm_assets" / "definitions.py"
    insert(graph, "\n# By asset, the settings", "from mm_assets.stages.tally import assets as tally\n")
    insert(graph, "    **score.READS,", "    **tally.READS,\n")
    insert(graph, "        ingest.image_table_asset", "        tally.label_counts,\n")


def changed(comparison: "filecmp.dircmp[str]", below: str = "") -> set[str]:
    """Paths of files and folders that only one of two folders has, or that differ."""
    names = {*comparison.left_only, *comparison.right_only, *comparison.diff_files}
    inner = (changed(part, f"{below}{name}/") for name, part in comparison.subdirs.items())
    return {f"{below}{name}" for name in names - {"__pycache__"}}.union(*inner)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with one asset more."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "mm_assets", root / "mm_assets", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    add_asset(root)
    return root


@pytest.fixture(scope="module")
def project(copied: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A lake in which the new asset is materialized."""
    folder = tmp_path_factory.mktemp("lake")
    for label in ("cat", "cat", "dog"):
        place = folder / "source" / label
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{len(list(place.iterdir()))}.png").write_bytes(b"not read")
    made = Project(folder / "lake", folder / "source", folder / "home", {"PYTHONPATH": str(copied)})
    run(made, "dagster", "asset", "materialize", "--select", f"raw_images,{ASSET}", "-m", "mm_assets.definitions")
    return made


def run(project: Project, module: str, *arguments: str, code: int = 0) -> str:
    done = project.command(*arguments, module=module)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def check_of(project: Project) -> list[str]:
    """What `lineage_verified` has said of the new asset, newest first."""
    key = dg.AssetCheckKey(dg.AssetKey(ASSET), "lineage_verified")
    with dg.DagsterInstance.local_temp(str(project.home)) as instance:
        found = instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    return [record.status.value for record in found]


def test_an_asset_touches_its_stage_the_catalog_and_the_definitions(copied: Path) -> None:
    touched = changed(filecmp.dircmp(ROOT / "mm_assets", copied / "mm_assets"))
    assert touched == {"stages/tally", "catalog.py", "definitions.py"}
    assert filecmp.cmp(ROOT / "pyproject.toml", copied / "pyproject.toml", shallow=False)


def test_the_import_contract_holds_with_it(copied: Path) -> None:
    program = str(Path(sys.executable).with_name("lint-imports"))
    done = subprocess.run(
        [program, "--no-cache"],
        cwd=copied,
        env={"PYTHONPATH": str(copied)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_materialized_with_its_columns_and_checked(project: Project) -> None:
    (event,) = project.events(ASSET)
    schema = event.metadata["dagster/column_schema"].value
    assert isinstance(schema, dg.TableSchema)
    assert {column.name: column.description for column in schema.columns} == {
        "label": "The class.",
        "images": "How many are listed with it.",
    }
    assert "raw_images.label" in str(event.metadata["column_sources"].value)
    assert project.tables.open(TABLE).to_table().sort_by("label").to_pylist() == [
        {"label": "cat", "images": 2},
        {"label": "dog", "images": 1},
    ]
    assert check_of(project) == ["SUCCEEDED"]


def test_status_and_trace_know_it(project: Project) -> None:
    rows = {row["asset"]: row for row in json.loads(run(project, "mm-assets", "status", "--json"))}
    assert rows[ASSET]["rows"] == 2
    assert rows[ASSET]["table"] == TABLE
    traced = run(project, "mm-assets", "trace", rows[ASSET]["data_version"])
    assert ASSET in traced
    assert rows["raw_images"]["data_version"] in traced


def test_maintenance_shows_its_table_on_its_page(project: Project) -> None:
    run(project, "dagster", "job", "execute", "-m", "mm_assets.definitions", "-j", "maintenance")
    with dg.DagsterInstance.local_temp(str(project.home)) as instance:
        (record,) = instance.fetch_observations(dg.AssetKey(ASSET), limit=1).records
    assert record.asset_observation is not None
    assert record.asset_observation.metadata["bytes_on_disk"].value


def test_verify_finds_what_is_wrong_with_it(project: Project, tmp_path: Path) -> None:
    copy = project.copied(tmp_path)
    run(copy, "mm-assets", "verify")
    ds = lance.dataset(str(Path(copy.lake) / f"{TABLE}.lance"))
    (tag,) = ds.tags.list()
    ds.tags.delete(tag)
    assert f"{TABLE}, {tag}" in run(copy, "mm-assets", "verify", code=1)
