"""A whole maintenance: what stays readable, what goes and is recorded, and that it has an end."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from lance.dataset import Tags

from mm_assets.demo.tiny_llava import build
from mm_assets.engines.lake.changes import changes_since
from mm_assets.engines.lake.files import files_of
from mm_assets.engines.lake.tables import Lake, write_fragments
from mm_assets.engines.lake.upkeep.cleanup import Orphans
from mm_assets.engines.models.files import keep_model, model_staging
from mm_assets.engines.store.s3 import client, is_s3, split
from mm_assets.engines.training.examples import Trained
from mm_assets.history.heal import heal
from mm_assets.history.history import History
from mm_assets.history.reuse import others_wrote
from mm_assets.history.rows import ALL_TABLES
from mm_assets.lineage.ancestry import walk
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.refs import LanceRef
from mm_assets.lineage.step import StepResult
from mm_assets.operations.upkeep.job import Upkeep, maintain
from mm_assets.settings import CurateSettings, Limit, UpkeepSettings
from mm_assets.stages.evaluate.tables import EVALUATIONS, EVALUATIONS_SCHEMA
from mm_assets.stages.ingest.tables import OBJECTS, OBJECTS_SCHEMA
from mm_assets_tests.kit.lake_rows import expiries, write
from mm_assets_tests.kit.past import TABLE, content, put, score, with_a_past
from mm_assets_tests.kit.project import Project
from mm_assets_tests.kit.small_lake import LABEL, checkpoint, dataset, photos, store
from mm_assets_tests.kit.stores import Bucket

# Nobody else is there to be disturbed.
NOW = {"grace_seconds": 0, "scratch_seconds": 0}


def upkeep(tables: Lake, **settings: float) -> Upkeep:
    return maintain(tables, UpkeepSettings(**{**NOW, **settings}), "run-of-upkeep", print)


def another(seed: int) -> Callable[..., Trained]:
    """A training that gives a model of its own."""

    def train(*arguments: Any) -> Trained:
        tables: Lake = arguments[1]
        with model_staging(tables) as folder:
            build(folder, seed=seed + 2)
            return Trained(*keep_model(tables, folder), {"examples": len(arguments[3])})

    return train


def versions(tables: Lake) -> dict[str, int]:
    return {name: tables.open(name).version for name in ALL_TABLES if tables.exists(name)}


def there(tables: Lake, table: str = TABLE) -> list[int]:
    return sorted(item["version"] for item in tables.open(table).versions())


def test_old_versions_go_and_the_last_ones_can_be_read_in_full(anywhere: Lake) -> None:
    names = [f"{number}.png" for number in range(8)]
    versions = [put(anywhere, [name], seed=seed, final=StepResult({"rows": 1})) for seed, name in enumerate(names)]
    heal(History.read(anywhere), "image_table")
    before = {version: content(anywhere.open(TABLE, version)) for version in versions[-3:]}
    done = upkeep(anywhere, keep_last=3)
    ref = anywhere.ref(TABLE, versions[-1])
    for version, rows in before.items():
        assert content(anywhere.open_at(LanceRef(TABLE, ref.table_id, version))) == rows
    assert there(anywhere) == [*versions[-3:], anywhere.open(TABLE).version]
    with pytest.raises(ValueError, match="not found"):
        anywhere.open(TABLE, versions[0])
    expired = expiries(anywhere)
    assert [(item.asset, item.ref.version, item.run_id) for item in expired] == [
        ("image_table", version, "run-of-upkeep") for version in versions[:-3]
    ]
    assert {json.dumps(item.reason) for item in expired} == {'{"reason": "retention", "keep_last": 3}'}
    assert sorted(anywhere.open(TABLE).tags.list()) == [f"image_table.v{version}" for version in versions[-3:]]
    assert len(History.read(anywhere).records) == 8  # the history of what was made stays
    assert done.changed


def test_with_nothing_to_do_no_version_is_made(anywhere: Lake) -> None:
    with_a_past(anywhere)
    assert upkeep(anywhere).changed
    before = versions(anywhere), {name: files_of(anywhere, name) for name in versions(anywhere)}
    assert not upkeep(anywhere).changed
    assert (versions(anywhere), {name: files_of(anywhere, name) for name in versions(anywhere)}) == before


def test_an_empty_lake_has_nothing_to_do(tables: Lake) -> None:
    assert maintain(tables, UpkeepSettings(), "run", print) == Upkeep([])


def test_what_live_checkpoints_were_made_from_stays(tables: Lake) -> None:
    store(tables, photos())
    first = dataset(tables, CurateSettings(tasks=[LABEL]))
    promoted = checkpoint(tables)
    production = [{"id": "1", "production": promoted.metadata["digest"], "at": datetime.now(UTC)}]
    write(tables, EVALUATIONS, EVALUATIONS_SCHEMA, production)
    for number in range(3):
        store(tables, [{**photos()[0], "image_id": f"more-{number}.png"}])
        last = dataset(tables, CurateSettings(tasks=[LABEL], limits={"entropy": Limit(min=number / 10)}))
        assert checkpoint(tables, training=another(number)).metadata["digest"] != promoted.metadata["digest"]
    history = History.read(tables).records
    upkeep(tables, keep_last=1)
    readable = {
        table: {
            ref for item in history.values() if (ref := item.ref).table == table and ref.version in there(tables, table)
        }
        for table in ("images", "sft")
    }
    images = {record.asset: record for record in walk(promoted, history)}["image_table"].ref
    assert images in readable["images"]
    assert {first.ref, last.ref} <= readable["sft"]
    used = [item.ref for item in history.values() if item.asset == "image_table"]
    assert readable["images"] == {used[0], used[-1]}
    assert len({item.ref for item in history.values() if item.ref.table == "sft"} - readable["sft"]) == 1
    for ref in (*readable["images"], *readable["sft"]):
        assert tables.open_at(ref).scanner(blob_handling="all_binary").to_table().num_rows


def test_a_persons_tag_and_the_production_tag_protect_their_version(tables: Lake) -> None:
    versions = [put(tables, [f"{seed}.png"], seed=seed, final=StepResult({"rows": 1})) for seed in range(6)]
    heal(History.read(tables), "image_table")
    tables.open(TABLE).tags.create("mine", versions[1])
    upkeep(tables, keep_last=1)
    assert there(tables)[:2] == [versions[1], versions[-1]]
    assert versions[1] not in {item.ref.version for item in expiries(tables)}


def test_where_a_refresh_begins_stays(tables: Lake) -> None:
    write(tables, OBJECTS, OBJECTS_SCHEMA, [{"image_id": "a"}])
    begins = tables.open(OBJECTS).version
    put(tables, ["a.png"], final=StepResult({"rows": 1}, Progress({OBJECTS: begins})))
    for name in ("b", "c"):
        write(tables, OBJECTS, OBJECTS_SCHEMA, [{"image_id": name}])
    upkeep(tables)
    assert there(tables, OBJECTS)[0] == begins
    assert tables.open(OBJECTS, begins).count_rows() == 1


def test_the_last_batch_of_a_run_that_was_killed_stays_to_be_gone_on_from(tables: Lake) -> None:
    put(tables, ["a.png"], seed=0, final=StepResult({"rows": 1}))
    batches = [put(tables, [f"{number}.png"], seed=1) for number in range(3)]
    for number in range(3):
        last = score(tables, number)
    upkeep(tables, keep_last=1)
    assert {batches[-1], last} < set(there(tables))
    assert not {*batches[:-1]} & set(there(tables))
    for asset, version in (("image_table", batches[-1]), ("scores/x", last)):
        commit = heal(History.read(tables), asset).last_commit
        assert commit is not None
        assert commit.version == version
        assert tables.open_at(commit).count_rows()


def test_that_two_runs_wrote_at_the_same_time_is_still_seen(tables: Lake) -> None:
    began = put(tables, ["0.png"], seed=0)
    for number, run in enumerate((1, 2, 1, 1, 2, 2, 2, 1)):
        put(tables, [f"{number + 1}.png"], seed=run)
        upkeep(tables, keep_last=1)
        ds = tables.open(TABLE)
        assert others_wrote(ds, "image_table", began, "run-2")
        assert others_wrote(ds, "image_table", began, "run-1") == (number > 0)
    assert not others_wrote(tables.open(TABLE), "image_table", tables.open(TABLE).version, "run-2")


def test_a_refresh_sees_the_same_changes_afterwards(anywhere: Lake) -> None:
    names = [f"{number}.png" for number in range(6)]
    began = put(anywhere, names, seed=0, final=StepResult({"rows": 6}))
    put(anywhere, ["0.png"], drop=("0.png", "1.png"), seed=1)
    put(anywhere, ["new.png"], seed=2)
    score(anywhere, 1.0, ["3.png"])
    put(anywhere, ["2.png"], drop=("2.png",), seed=3, final=StepResult({"rows": 6}, Progress({TABLE: began})))

    def changes() -> tuple[list[str], list[str]]:
        ref = anywhere.ref(TABLE, anywhere.open(TABLE).version)
        changed_rows = changes_since(anywhere, ref, began, ["image_id"], removed=["image_id"])
        assert changed_rows is not None
        return sorted(changed_rows.rows["image_id"].to_pylist()), sorted(changed_rows.removed["image_id"].to_pylist())

    before = changes()
    assert before == (["0.png", "2.png", "3.png", "new.png"], ["0.png", "1.png", "2.png"])
    upkeep(anywhere, keep_last=1)
    assert began in there(anywhere)
    assert changes() == before


def test_a_record_that_a_crash_kept_from_the_history_is_written_before_its_commit_can_go(tables: Lake) -> None:
    versions = [put(tables, [f"{seed}.png"], seed=seed, final=StepResult({"rows": seed})) for seed in range(4)]
    assert History.read(tables).records == {}
    upkeep(tables, keep_last=2)
    assert [item.ref.version for item in History.read(tables).records.values()] == versions
    assert there(tables)[:2] == versions[2:]


def test_an_expiry_is_recorded_before_its_tag_goes_and_once(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        put(tables, [f"{seed}.png"], seed=seed, final=StepResult({"rows": 1}))

    def fail(*_: object) -> None:
        raise RuntimeError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(Tags, "delete", fail)
        with pytest.raises(RuntimeError, match="killed here"):
            upkeep(tables, keep_last=1)
    recorded = [item.id for item in expiries(tables)]
    assert len(recorded) == 2
    assert len(tables.open(TABLE).tags.list()) == 3
    upkeep(tables, keep_last=1)
    assert [item.id for item in expiries(tables)] == recorded
    assert len(tables.open(TABLE).tags.list()) == 1


def test_within_the_grace_nothing_is_removed_and_nobody_fenced(tables: Lake) -> None:
    with_a_past(tables)
    write_fragments(tables, TABLE, tables.open(TABLE).to_table(columns=["image_id"]))
    before = there(tables), files_of(tables, TABLE)
    done = upkeep(tables, grace_seconds=3600)
    assert set(before[0]) < set(there(tables))
    assert before[1].keys() - files_of(tables, TABLE).keys() <= {"_versions/latest_version_hint.json"}
    for report in done.tables:
        assert report.versions_removed == 0
        assert report.orphans == Orphans()


def test_what_killed_runs_left_goes_and_models_and_bundles_stay(anywhere: Lake, tmp_path: Path) -> None:
    with_a_past(anywhere)
    names = [
        "models/.training-1/epoch/weights",
        "models/.building-2/config.json",
        "models/0123456789abcdef/config.json",
    ]
    names += ["bundles/.packing-3/model.tar.gz", "bundles/0123456789abcdef-0/model.tar.gz"]
    for name in names:
        if is_s3(anywhere.root):
            bucket, root = split(anywhere.root)
            client(anywhere.s3).put_object(Bucket=bucket, Key=f"{root}/{name}", Body=b"four")
        else:
            path = Path(anywhere.root, name)
            path.parent.mkdir(parents=True)
            path.write_bytes(b"four")
    assert upkeep(anywhere, scratch_seconds=3600).leftovers == []
    leftovers = upkeep(anywhere).leftovers
    assert [(item.name, item.files, item.num_bytes) for item in leftovers] == [
        ("models/.building-2", 1, 4),
        ("models/.training-1", 1, 4),
        ("bundles/.packing-3", 1, 4),
    ]
    assert upkeep(anywhere).leftovers == []
    if not is_s3(anywhere.root):
        assert [path.name for path in Path(anywhere.root, "models").iterdir()] == ["0123456789abcdef"]
        assert [path.name for path in Path(anywhere.root, "bundles").iterdir()] == ["0123456789abcdef-0"]


@pytest.mark.s3
def test_uploads_that_never_ended_are_aborted(bucket: Bucket) -> None:
    tables = Lake(f"{bucket.uri}/a/lake", bucket.s3)
    store = client(bucket.s3)
    for key in ("a/lake/images.lance/data/x.lance", "a/lakeside/y"):
        store.create_multipart_upload(Bucket=bucket.name, Key=key)
    done = upkeep(tables)
    assert (done.uploads_aborted, done.changed) == (1, True)
    assert [item["Key"] for item in store.list_multipart_uploads(Bucket=bucket.name)["Uploads"]] == ["a/lakeside/y"]
    assert not upkeep(tables).changed


def test_the_job_says_what_it_did(tmp_path: Path) -> None:
    project = Project(tmp_path / "lake", tmp_path, tmp_path / "home", {"MM_UPKEEP__GRACE_SECONDS": "0"})
    project.source = tmp_path / "home"
    for seed in range(12):
        put(project.tables, [f"{seed}.png"], seed=seed, final=StepResult({"rows": 1}))
    with dg.DagsterInstance.local_temp(str(project.home)) as instance:
        job = project.definitions().resolve_job_def("maintenance")
        result = job.execute_in_process(instance=instance)
        again = job.execute_in_process(instance=instance)
    (event,) = [event for event in result.all_events if event.is_successful_output]
    metadata = event.step_output_data.metadata
    assert "| images | 12 → 1 |" in str(metadata["tables"].value)
    assert str(metadata["expired"].value).count("images:") == 2
    assert metadata["nothing_to_do"].value is False
    (event,) = [event for event in again.all_events if event.is_successful_output]
    assert event.step_output_data.metadata["nothing_to_do"].value is True
    observations = [
        event.asset_observation_data.asset_observation for event in result.all_node_events if event.is_asset_observation
    ]
    metadata_by_asset = {item.asset_key.to_user_string(): item.metadata for item in observations}
    assert metadata_by_asset["image_table"]["fragments"].value == 1
    assert metadata_by_asset["image_table"]["versions"].value == len(there(project.tables))
