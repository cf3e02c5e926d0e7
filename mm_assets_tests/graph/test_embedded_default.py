"""The embedded default, whole: it learns, every version is a Lance version, and a second time costs nothing."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from mm_assets.engines.lake.tables import table_id
from mm_assets.engines.training.examples import Trained
from mm_assets.engines.training.run import fine_tune
from mm_assets.history.history import History
from mm_assets.splits import split_of
from mm_assets_tests.kit.project import Project
from mm_assets_tests.kit.small_lake import untrained

pytestmark = pytest.mark.ray


def rows(project: Project, asset: str, **options: Any) -> list[dict[str, Any]]:
    ref = project.newest()[asset].ref
    return list(project.tables.open(ref.table, ref.version).to_table(**options).to_pylist())


def test_the_tiny_model_learns_and_is_promoted(finished: Project) -> None:
    said = finished.newest()["evaluation"].metadata
    assert said["rows"] >= 300
    assert said["champion_accuracy"] < 0.3
    assert said["accuracy"] >= 0.6
    assert said["promoted"]
    held_out = rows(finished, "evaluation")
    right = sum(row["challenger_label"] == row["label"] for row in held_out)
    assert right / len(held_out) == pytest.approx(said["accuracy"])
    assert {row["production"] for row in held_out} == {finished.newest()["llava_checkpoint"].metadata["digest"]}


def test_each_stage_had_something_to_refuse(finished: Project) -> None:
    images = rows(finished, "image_table", columns=["error"])
    reasons = Counter(row["error"].split(":")[0] for row in images if row["error"])
    assert set(reasons) == {"corrupt", "empty", "not an image"}
    left_out = finished.newest()["sft_dataset"].metadata["left_out"]
    assert {"no image", "blurred", "bright", "near-duplicate", "conflicting labels"} <= set(left_out)


def test_every_file_is_a_row(finished: Project) -> None:
    files = [path for path in Path(finished.source).rglob("*") if path.is_file()]
    images = rows(finished, "image_table", columns=["image_id", "error", "sha256"])
    assert {row["image_id"] for row in images} == {path.relative_to(finished.source).as_posix() for path in files}
    assert len(rows(finished, "sft_dataset")) == len(rows(finished, "batch_predictions")) == len(files)


def test_no_group_straddles_splits_and_each_gives_one_example(finished: Project) -> None:
    examples = [row for row in rows(finished, "sft_dataset") if row["left_out"] is None]
    assert len({row["group_id"] for row in examples}) == len(examples)
    first = {row["image_id"]: row for row in rows(finished, "scores/near_duplicates")}
    assert all(row["split"] == split_of(first[row["images"][0]["image_id"]]["first_group_id"]) for row in examples)
    shares = Counter(row["split"] for row in examples)
    assert shares["train"] / len(examples) == pytest.approx(0.65, abs=0.04)
    assert shares["test"] / len(examples) == pytest.approx(0.25, abs=0.04)


def test_predictions_are_held_to_the_labels(finished: Project) -> None:
    predictions = rows(finished, "batch_predictions")
    labels = set(finished.newest()["sft_dataset"].metadata["labels"])
    errors = {row["image_id"]: row["error"] for row in rows(finished, "image_table", columns=["image_id", "error"])}
    for row in predictions:
        if errors[row["image_id"]] is None:
            assert row["label"] in labels
            assert row["answer"] == f"this is a photo of a {row['label']}."
            assert 1 / 8 <= row["confidence"] <= 1
        else:
            assert (row["label"], row["error"]) == (None, f"no image: {errors[row['image_id']]}")


def test_every_data_version_is_a_tagged_lance_version(finished: Project) -> None:
    for asset, record in finished.newest().items():
        event = finished.events(asset)[0]
        assert event.tags is not None
        assert event.tags["dagster/data_version"] == record.data_version
        ds = finished.tables.open(record.ref.table)
        assert table_id(ds) == record.ref.table_id
        assert record.ref.version in {item["version"] for item in ds.versions()}
        assert f"{asset.replace('/', '.')}.v{record.ref.version}" in ds.tags.list()
    assert "production" in finished.tables.open("models").tags.list()


def test_recorded_inputs_are_those_of_the_commits(finished: Project) -> None:
    newest = finished.newest()
    for asset, record in newest.items():
        event = finished.events(asset)[0]
        said = {
            name.removeprefix("dagster/input_data_version/"): value
            for name, value in (event.tags or {}).items()
            if name.startswith("dagster/input_data_version/")
        }
        assert said == record.read
        assert said == {name: newest[name].data_version for name in said}


def metadata_of(project: Project, asset: str) -> Mapping[str, Any]:
    return project.events(asset)[0].metadata


def test_every_event_is_small_and_has_its_pictures(finished: Project) -> None:
    pictures = {
        "raw_images": ["preview_labels"],
        "image_table": ["preview_images", "preview_refused", "preview_sizes"],
        "scores/sharpness": ["preview_sharpness"],
        "scores/exposure": ["preview_luminance", "preview_clipped"],
        "scores/entropy": ["preview_entropy"],
        "scores/near_duplicates": ["preview_groups"],
        "sft_dataset": ["preview_balance"],
        "llava_checkpoint": ["preview_loss"],
        "evaluation": ["preview_confusion", "preview_recall"],
        "batch_predictions": ["preview_answers", "preview_predicted", "preview_confidence"],
    }
    for asset in finished.newest():
        said = metadata_of(finished, asset)
        assert "preview_error" not in said, asset
        assert len(dg.serialize_value(dict(said))) <= 60_000, asset
        for name in pictures.get(asset, []):
            assert "](data:image/" in str(said[name].value), (asset, name)


def test_the_promoted_model_is_packed_for_serving(finished: Project) -> None:
    said = finished.newest()["serving_bundle"].metadata
    assert said["digest"] == finished.newest()["llava_checkpoint"].metadata["digest"]
    assert Path(finished.lake, said["uri"]).stat().st_size == said["num_bytes"]
    shown = metadata_of(finished, "serving_bundle")
    assert "option.async_mode=true" in str(shown["preview_properties"].value)
    for record in finished.newest().values():
        if record.asset not in ("serving_bundle", "batch_predictions"):
            assert f"| {record.asset} | {record.data_version} |" in str(shown["preview_card"].value), record.asset


def test_every_event_says_what_an_engineer_asks(finished: Project) -> None:
    for asset, record in finished.newest().items():
        said = metadata_of(finished, asset)
        assert said["dagster/row_count"].value == record.metadata["rows"]
        assert said["dagster/uri"].value == finished.tables.uri(record.ref.table)
        assert said["lance_version"].value == record.ref.version
        assert float(str(said["seconds"].value)) > 0
        assert "rows_per_second" in said, asset
        first = asset in ("raw_images", "base_model")
        assert ("inputs" in said, "column_sources" in said) == (not first, not first), asset
        schema = said["dagster/column_schema"].value
        assert isinstance(schema, dg.TableSchema)
        assert [column.name for column in schema.columns if not column.description] == [], asset
    lineage = metadata_of(finished, "sft_dataset")["dagster/column_lineage"].value
    assert isinstance(lineage, dg.TableColumnLineage)
    sources = {(dep.asset_key.to_user_string(), dep.column_name) for dep in lineage.deps_by_column["split"]}
    assert ("scores/near_duplicates", "first_group_id") in sources


def test_nothing_changed_costs_nothing(copy: Project) -> None:
    versions, data_versions = copy.table_versions(), copy.data_versions()
    copy.materialize()
    assert copy.table_versions() == versions
    assert copy.data_versions() == data_versions
    assert all(record.reused for record in copy.newest().values())


def test_a_fresh_instance_adopts_an_old_lake(copy: Project, tmp_path: Path) -> None:
    versions, data_versions = copy.table_versions(), copy.data_versions()
    fresh = Project(copy.lake, copy.source, tmp_path / "fresh")
    fresh.materialize()
    assert fresh.table_versions() == versions
    assert {
        asset: (fresh.events(asset)[0].tags or {})["dagster/data_version"] for asset in data_versions
    } == data_versions


def test_a_fresh_instance_pins_what_the_lake_has(copy: Project, tmp_path: Path) -> None:
    fresh = Project(copy.lake, copy.source, tmp_path / "fresh")
    fresh.materialize("sft_dataset")
    tags = fresh.events("sft_dataset")[0].tags or {}
    assert tags["dagster/input_data_version/image_table"] == copy.data_versions()["image_table"]


def test_a_moved_lake_needs_nothing_of_the_old_place(finished: Project, copy: Project, tmp_path: Path) -> None:
    data_versions = copy.data_versions()
    moved = Project(Path(copy.lake).rename(tmp_path / "elsewhere"), copy.source, copy.home)
    moved.materialize()
    assert moved.data_versions() == data_versions
    for path in Path(moved.lake).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(finished.lake).encode() not in content, path
            assert str(moved.source).encode() not in content, path


def test_another_lakes_history_is_not_pinned(copy: Project, tmp_path: Path) -> None:
    """One Dagster instance, two lakes: a step reads the lake that it is pointed at."""
    other = Project(tmp_path / "other", copy.source, copy.home)
    result = other.materialize("sft_dataset", fails=True)
    assert "materialize base_model first" in str(result.get_step_failure_events()[0].step_failure_data.error)


def test_what_a_threshold_changes_is_trained_once_and_again_only_by_force(
    modest: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings: list[int] = []

    def counted(*arguments: Any) -> Trained:
        trainings.append(1)
        return fine_tune(*arguments)

    monkeypatch.setattr("mm_assets.stages.finetune.job.fine_tune", counted)
    before = modest.data_versions()
    modest.env["MM_CURATE__LIMITS"] = '{"sharpness": {"min": 1300}}'
    modest.materialize()
    after = modest.data_versions()
    changed = {asset for asset in before if before[asset] != after[asset]}
    assert changed == {"sft_dataset", "llava_checkpoint", "evaluation", "batch_predictions"}
    first = modest.newest()["llava_checkpoint"]
    modest.materialize("llava_checkpoint")
    assert modest.newest()["llava_checkpoint"].ref == first.ref
    assert len(trainings) == 1
    modest.materialize("llava_checkpoint", run_config={"ops": {"llava_checkpoint": {"config": {"force": True}}}})
    forced = modest.newest()["llava_checkpoint"]
    assert len(trainings) == 2
    # One thread: the same weights to the bit, so the same digest and the same version.
    assert (forced.metadata["digest"], forced.ref) == (first.metadata["digest"], first.ref)
    # Another recipe, of which nothing matters but that it gives another model.
    monkeypatch.setattr("mm_assets.stages.finetune.job.fine_tune", untrained)
    modest.env["MM_TRAIN__SEED"] = "1"
    modest.materialize("llava_checkpoint")
    other = modest.newest()["llava_checkpoint"]
    # Back to the first recipe: that model is not trained again, and is another version than the one in between.
    monkeypatch.setattr("mm_assets.stages.finetune.job.fine_tune", counted)
    modest.env["MM_TRAIN__SEED"] = "0"
    modest.materialize("llava_checkpoint")
    back = modest.newest()["llava_checkpoint"]
    assert len(trainings) == 2
    assert back.metadata["digest"] == first.metadata["digest"] != other.metadata["digest"]
    assert back.ref.version > other.ref.version > first.ref.version
    assert not back.reused


def test_production_is_refused_before_a_promotion(copy: Project, modest: Project) -> None:
    copy.env = {"MM_PREDICT__MODEL": "production"}
    before = copy.newest()["batch_predictions"].metadata["digest"]
    copy.materialize("batch_predictions")
    assert copy.newest()["batch_predictions"].metadata["digest"] == before
    modest.env["MM_PREDICT__MODEL"] = "production"
    assert modest.newest()["evaluation"].metadata["promoted"] is False
    result = modest.materialize("batch_predictions", fails=True)
    assert "no model was promoted yet" in str(result.get_step_failure_events()[0].step_failure_data.error)


def test_the_lineage_is_complete(finished: Project) -> None:
    history = History.read(finished.tables).records
    for record in history.values():
        assert all(item.record_id in history for item in record.inputs)


def stale(project: Project) -> set[str]:
    """What Dagster's UI would show as out of date."""
    with dg.DagsterInstance.local_temp(str(project.home)) as instance:
        graph = project.definitions().resolve_asset_graph()
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        keys = graph.materializable_asset_keys
        return {key.to_user_string() for key in keys if resolver.get_status(key) != StaleStatus.FRESH}


def test_dagster_shows_what_a_changed_setting_made_stale(copy: Project) -> None:
    assert stale(copy) == set()
    copy.materialize("image_table")  # the same version again: what follows stays fresh
    assert stale(copy) == set()
    copy.env = {"MM_CURATE__LIMITS": '{"sharpness": {"min": 1300}}'}
    assert stale(copy) == {"sft_dataset"}
