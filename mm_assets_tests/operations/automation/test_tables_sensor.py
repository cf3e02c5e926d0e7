"""The sensor of the tables: writes from outside are shown and looked at again; our own and maintenance are not."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field

import dagster as dg
import lance
import pyarrow as pa
import pytest

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.fields import key_field
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.lake.upkeep.cleanup import remove_orphans
from mm_assets.lineage.step import StepContext
from mm_assets.operations.automation import tables_sensor
from mm_assets.operations.upkeep.job import maintain
from mm_assets.settings import AutomationSettings, UpkeepSettings
from mm_assets_tests.kit.daemon import Daemon

TABLE = "images"
SCHEMA = pa.schema([key_field("image_id"), ("label", pa.string()), ("error", pa.string()), ("num_bytes", pa.int64())])
OWNERS = {
    "image_table",
    *(f"scores/{name}" for name in ("sharpness", "exposure", "entropy", "phash", "near_duplicates")),
}


def rows(*keys: str) -> pa.Table:
    rows = [{"image_id": key, "label": "pool", "num_bytes": 100} for key in keys]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def put(tables: Lake, *keys: str, table: str = TABLE, asset: str = "image_table") -> None:
    """A commit of a step of ours."""
    step = StepContext("run", asset, {asset: "1"}, {}, {}, {}, print)
    tables.open_or_create(table, SCHEMA, step.properties([asset], 0))
    fragments = write_fragments(tables, table, rows(*keys))
    commit(tables, table, lambda ds: replace_rows(ds, "image_id", [], fragments), step.properties([asset], 1))


@dataclass
class Watch:
    """The sensor over a lake; `look` returns why it requests nothing."""

    tables: Lake
    daemon: Daemon = field(default_factory=Daemon)
    cursor: str | None = None
    requests: list[dg.RunRequest] = field(default_factory=list)
    observations: dict[str, dg.AssetObservation] = field(default_factory=dict)

    def look(self) -> str:
        sensor = tables_sensor.build(AutomationSettings(), dg.DefaultSensorStatus.RUNNING)
        result = self.daemon.look(sensor, self.tables.root, self.cursor)
        self.cursor = result.cursor
        self.requests = list(result.run_requests or [])
        events = [event for event in result.asset_events if isinstance(event, dg.AssetObservation)]
        self.observations = {event.asset_key.to_user_string(): event for event in events}
        return result.skip_message or ""

    @property
    def version(self) -> int:
        """That the sensor has seen of the table of images."""
        return int(json.loads(self.cursor or "{}")[TABLE]["version"])

    def requested_assets(self) -> set[str]:
        return {key.to_user_string() for request in self.requests for key in request.asset_selection or []}


@pytest.fixture
def watch(tables: Lake) -> Watch:
    put(tables, "a", "b")
    watch = Watch(tables)
    assert watch.look() == "1 tables, watched from now on"
    return watch


def append(ds: lance.LanceDataset) -> None:
    lance.write_dataset(rows("x"), ds, mode="append")


def overwrite(ds: lance.LanceDataset) -> None:
    lance.write_dataset(rows("x").replace_schema_metadata(ds.schema.metadata), ds, mode="overwrite")


OUTSIDE: dict[str, Callable[[lance.LanceDataset], object]] = {
    "Append": append,
    "Delete": lambda ds: ds.delete("image_id = 'a'"),
    "Update": lambda ds: ds.update({"label": "'gym'"}, where="image_id = 'a'"),
    "Overwrite": overwrite,
}


@pytest.mark.parametrize("operation", OUTSIDE)
def test_a_write_from_outside_is_shown_and_its_owners_look_again(watch: Watch, operation: str) -> None:
    OUTSIDE[operation](watch.tables.open(TABLE))
    version = watch.tables.open(TABLE).version
    watch.look()
    assert set(watch.observations) == OWNERS
    metadata = watch.observations["image_table"].metadata
    assert (metadata["table"].value, metadata["versions"].value, metadata["operations"].value) == (
        TABLE,
        str(version),
        operation,
    )
    assert str(metadata["at"].value).startswith("20")
    (request,) = watch.requests
    assert watch.requested_assets() == OWNERS
    assert request.tags["written_outside/images"] == f"v{version}"
    assert watch.look() == "1 tables, none written from outside"


def test_several_writes_make_one_run(watch: Watch) -> None:
    put(watch.tables, "o", table="objects", asset="raw_images")
    watch.look()
    append(watch.tables.open(TABLE))
    append(watch.tables.open(TABLE))
    watch.tables.open("objects").delete("true")
    watch.look()
    assert len(watch.requests) == 1
    assert watch.requested_assets() == OWNERS | {"raw_images"}
    assert watch.observations["image_table"].metadata["operations"].value == "Append, Append"


def test_our_own_commits_and_maintenance_are_nothing_to_show(watch: Watch) -> None:
    put(watch.tables, "c")
    put(watch.tables, "o", table="objects", asset="raw_images")
    assert watch.look() == "2 tables, none written from outside"
    before = watch.tables.open(TABLE).version
    maintain(watch.tables, UpkeepSettings(grace_seconds=0), "night", print)
    remove_orphans(watch.tables, TABLE, "night", 2e9)
    assert watch.tables.open(TABLE).version > before
    assert watch.look() == "2 tables, none written from outside"


def test_a_compaction_from_outside_changes_no_row(watch: Watch) -> None:
    put(watch.tables, "c")
    watch.tables.open(TABLE).optimize.compact_files()
    watch.tables.open(TABLE).create_scalar_index("image_id", "BTREE")
    assert watch.look() == "1 tables, none written from outside"


def test_a_table_that_is_gone_is_a_finding(watch: Watch) -> None:
    put(watch.tables, "m", table="evaluations", asset="evaluation")
    watch.look()
    shutil.rmtree(watch.tables.uri(TABLE))
    shutil.rmtree(watch.tables.uri("evaluations"))
    watch.look()
    assert set(watch.observations) == OWNERS | {"evaluation"}
    assert watch.observations["image_table"].description == "images.lance: gone"
    (request,) = watch.requests
    assert watch.requested_assets() == OWNERS  # an evaluation is a result of the past
    assert request.tags["written_outside/images"] == "gone"
    assert watch.look() == "0 tables, none written from outside"
    put(watch.tables, "a", "b")  # as the run does
    assert watch.look() == "1 tables, none written from outside"


def test_a_table_that_was_dropped_and_made_anew_between_two_looks_is_another_one(watch: Watch) -> None:
    shutil.rmtree(watch.tables.uri(TABLE))
    put(watch.tables, "a", "b")
    watch.look()
    assert watch.requested_assets() == OWNERS
    assert watch.observations["image_table"].description == "images.lance: another table than before"


def test_a_table_that_was_put_back_from_a_backup_is_another_one(watch: Watch) -> None:
    backup = shutil.copytree(watch.tables.uri(TABLE), f"{watch.tables.root}/backup")
    append(watch.tables.open(TABLE))
    watch.look()
    keys = {request.run_key for request in watch.requests}
    put(watch.tables, "c")
    watch.look()
    for _ in range(2):  # each time it is put back is a request of its own
        shutil.rmtree(watch.tables.uri(TABLE))
        shutil.copytree(backup, watch.tables.uri(TABLE))
        before = watch.version
        watch.look()
        assert watch.requested_assets() == OWNERS
        put_back = f"images.lance: put back from version {before} to {watch.version}"
        assert watch.observations["image_table"].description == put_back
        assert watch.observations["image_table"].metadata["another_table_than_before"].value is True
        keys |= {request.run_key for request in watch.requests}
        for number in range(3):
            put(watch.tables, f"d{number}")
            watch.look()
    assert len(keys) == 3


def test_a_write_beside_a_run_of_an_owner_is_looked_at_when_that_has_ended(watch: Watch) -> None:
    put(watch.tables, "o", table="objects", asset="raw_images")
    watch.look()
    before = watch.version
    run = watch.daemon.start("scores/phash")
    append(watch.tables.open(TABLE))
    for _ in range(2):
        later = f": looked at again when run {run.run_id[:8]} has materialized scores/phash"
        assert watch.look() == f"images.lance: Append (version {before + 1}){later}"
        assert watch.version == before
    append_objects = rows("x").select(["image_id", "label"])
    lance.write_dataset(append_objects, watch.tables.open("objects"), mode="append")
    watch.look()
    assert watch.requested_assets() == {"raw_images"}  # nobody makes that one
    watch.daemon.fail(run)
    watch.look()
    assert watch.requested_assets() == OWNERS
    assert watch.observations["image_table"].metadata["operations"].value == "Append"
    assert watch.look() == "2 tables, none written from outside"


def test_a_table_that_is_new_is_not_forgotten_beside_a_run_of_its_owner(watch: Watch) -> None:
    run = watch.daemon.start("raw_images")
    put(watch.tables, "o", table="objects", asset="raw_images")
    watch.tables.open("objects").delete("true")
    assert "looked at again" in watch.look()
    watch.daemon.fail(run)
    watch.look()
    assert watch.requested_assets() == {"raw_images"}


def test_an_empty_cursor_begins_anew(watch: Watch) -> None:
    watch.cursor = ""  # as the UI leaves it
    assert watch.look() == "1 tables, watched from now on"


def test_a_table_that_was_written_over_without_its_id_is_another_one(watch: Watch) -> None:
    lance.write_dataset(pa.table({"image_id": ["x"]}), watch.tables.uri(TABLE), mode="overwrite")
    watch.look()
    assert watch.requested_assets() == OWNERS
    assert watch.look() == "1 tables, none written from outside"


@pytest.mark.parametrize(("asset", "table"), [("llava_checkpoint", "models"), ("evaluation", "evaluations")])
def test_results_of_the_past_are_reported_and_nothing_is_trained(watch: Watch, asset: str, table: str) -> None:
    put(watch.tables, "m", table=table, asset=asset)
    watch.look()
    watch.tables.open(table).delete("true")
    sentence = watch.look()
    assert asset in watch.observations
    version = watch.tables.open(table).version
    assert sentence == ("" if watch.requests else f"{table}.lance: Delete (version {version})")
    assert asset not in watch.requested_assets()
    assert watch.requested_assets() == ({"base_model"} if table == "models" else set())
