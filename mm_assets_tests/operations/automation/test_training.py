"""Whether a training is worth its while, and what the sensor says of it."""

from collections.abc import Collection
from typing import Any

import dagster as dg
import pytest

from mm_assets.definitions import build
from mm_assets.demo import tiny_llava
from mm_assets.engines.lake.cells import write_cells
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import rows_by_key
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import keep_model, model_staging
from mm_assets.engines.training.examples import Trained
from mm_assets.history.history import History
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.operations.automation import training_sensor
from mm_assets.operations.automation.freshness import TRAINED
from mm_assets.operations.automation.training import Verdict, judge_training, new_examples
from mm_assets.settings import AutomationSettings, CurateSettings, load_settings
from mm_assets.splits import TRAIN
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.predict.held_out import HeldOut
from mm_assets_tests.kit.daemon import Daemon
from mm_assets_tests.kit.jobs import predicted, trained
from mm_assets_tests.kit.small_lake import LABEL, checkpoint, dataset, names, photos, store
from mm_assets_tests.kit.steps import run_step

TASKS = CurateSettings(tasks=[LABEL])
THREE = AutomationSettings(min_new_examples=3)
# The code version that the training has in the graph.
CODE = str(build(load_settings()).resolve_asset_graph().get(TRAINED).code_version)


def retrained(*arguments: Any) -> Trained:
    """In place of `fine_tune`: other weights than `untrained`."""
    with model_staging(arguments[1]) as folder:
        tiny_llava.build(folder, seed=2)
        return Trained(*keep_model(arguments[1], folder), {"examples": len(arguments[3])})


def verdict(tables: Lake, settings: AutomationSettings = THREE, code: str = CODE) -> Verdict:
    return judge_training(History.read(tables), settings, code)


def newest(tables: Lake, asset: str) -> Record:
    return History.read(tables).newest[asset]


def more(tables: Lake, count: int) -> Record:
    """So many more images to train on, and the dataset with them."""
    before = tables.open(IMAGES).count_rows()
    store(tables, [{"image_id": name, "label": "pool"} for name in names(TRAIN, before + count)[before:]])
    return dataset(tables, TASKS)


def relabel(tables: Lake, label: str, *image_ids: str) -> Record:
    """Other labels for images, and the dataset with them."""
    assets = ["image_table"]

    def job(step: StepContext) -> StepResult:
        rows = rows_by_key(tables.open(IMAGES), "image_id", list(image_ids)).select(["_rowid"])
        cells = rows.append_column("label", [[label] * rows.num_rows])
        final = StepResult({"rows": 0})
        commit(tables, IMAGES, lambda ds: write_cells(ds, cells), step.properties(assets, 1, {"image_table": final}))
        return final

    run_step(tables, job, *assets)
    return dataset(tables, TASKS)


@pytest.fixture
def lake(tables: Lake) -> Lake:
    store(tables, photos())
    dataset(tables, TASKS)
    checkpoint(tables, code=CODE)
    return tables


def test_a_first_training_needs_a_dataset_and_nothing_else(tables: Lake) -> None:
    assert verdict(tables) == Verdict(False, "there is no base_model yet")
    store(tables, photos())
    dataset(tables, TASKS)
    assert verdict(tables) == Verdict(True, "there is no checkpoint yet")
    checkpoint(tables, code=CODE)
    assert verdict(tables) == Verdict(False, "0 of 3 new training examples")


def test_the_nth_new_example_starts_a_training_and_the_one_before_does_not(lake: Lake) -> None:
    more(lake, 2)
    assert verdict(lake) == Verdict(False, "2 of 3 new training examples")
    more(lake, 1)
    assert verdict(lake) == Verdict(True, "3 of 3 new training examples")
    checkpoint(lake, training=retrained, code=CODE)
    assert verdict(lake) == Verdict(False, "0 of 3 new training examples")


def test_changed_examples_count_and_those_of_other_splits_do_not(lake: Lake) -> None:
    before = newest(lake, "sft_dataset").data_version
    train = [row["image_id"] for row in photos()[:8] if row["label"] == "pool"]
    held_out = [row["image_id"] for row in photos()[8:] if row["label"] == "pool"]
    assert new_examples(lake, relabel(lake, "Terrace/Patio", *train[:2]).ref, before) == 2
    assert new_examples(lake, relabel(lake, "Terrace/Patio", *held_out[:2]).ref, before) == 2
    assert new_examples(lake, relabel(lake, "pool", *train[:2]).ref, before) == 0  # as it was
    assert newest(lake, "sft_dataset").data_version != before


def test_a_dataset_that_is_materialized_again_at_the_same_version_counts_nothing(lake: Lake) -> None:
    first = newest(lake, "sft_dataset")
    assert dataset(lake, TASKS).ref == first.ref
    assert new_examples(lake, first.ref, first.data_version) == 0


def test_all_count_where_the_dataset_trained_on_is_gone(lake: Lake) -> None:
    before = newest(lake, "sft_dataset").data_version
    now = more(lake, 1)
    ds = lake.open("sft")
    for tag in ds.tags.list():
        ds.tags.delete(tag)
    ds.cleanup_old_versions(versions=list(range(1, ds.version)))
    assert new_examples(lake, now.ref, before) == 7
    assert new_examples(lake, now.ref, f"sft:ffffff@v{now.ref.version}") == 7


def test_another_recipe_or_base_model_is_a_deliberate_act(lake: Lake) -> None:
    assert verdict(lake, code="another") == Verdict(True, "the recipe or the code of the training has changed")

    def other(step: StepContext) -> StepResult:
        final = StepResult({"rows": 1, "digest": "other"})
        properties = step.properties(["base_model"], 1, {"base_model": final})
        commit(lake, "models", lambda ds: write_cells(ds, _touched(ds)), properties)
        return final

    record = run_step(lake, other, "base_model")["base_model"]
    assert verdict(lake) == Verdict(True, f"base_model is another one ({record.data_version})")


def _touched(ds: Any) -> Any:
    return ds.to_table(columns=["metrics"], filter="kind = 'base'", with_row_id=True)


def test_a_drop_on_held_out_images_starts_a_training(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tables, LABEL)
    predicted(tables)
    accuracy = HeldOut("m", accuracy=0.85, evaluated=0.95, examples=40)
    monkeypatch.setattr("mm_assets.stages.predict.held_out.held_out_accuracy", lambda history: accuracy)
    worse = "; accuracy on held-out images 0.850, 0.950 at the evaluation"
    because = "; but the checkpoint was trained on this very dataset"
    assert verdict(tables, code="1") == Verdict(False, f"0 of 3 new training examples{worse}{because}")
    more(tables, 1)
    sentence = f"1 of 3 new training examples{worse}"
    assert verdict(tables, code="1") == Verdict(True, sentence)
    allowed = AutomationSettings(min_new_examples=3, max_accuracy_drop=0.2)
    assert verdict(tables, allowed, code="1") == Verdict(False, sentence)
    checkpoint(tables, training=retrained)
    more(tables, 1)
    predicted_by = newest(tables, "batch_predictions").metadata["digest"]
    trained_now = newest(tables, "llava_checkpoint").metadata["digest"]
    other = f"; accuracy not judged: the predictions are of {predicted_by}, the newest checkpoint is {trained_now}"
    assert verdict(tables, code="1") == Verdict(
        False, f"1 of 3 new training examples{other}"
    )  # it is of the one before


def test_the_accuracy_is_that_of_the_predictions_by_the_labels_of_now(tables: Lake) -> None:
    trained(tables, LABEL)
    predicted(tables)
    sentence = verdict(tables, code="1").sentence
    evaluated = newest(tables, "evaluation").metadata["accuracy"]
    assert sentence == (
        f"0 of 3 new training examples; accuracy on held-out images {evaluated:.3f}, {evaluated:.3f} at the evaluation"
    )
    answers = tables.open("predictions").to_table(columns=["image_id", "label"]).to_pylist()
    labels_by_image = {row["image_id"]: row["label"] for row in answers}
    held_out = [row["image_id"] for row in photos()[8:]]
    for label in set(labels_by_image.values()):  # now every answer is right
        relabel(tables, label, *(name for name in held_out if labels_by_image[name] == label))
    assert "accuracy on held-out images 1.000" in verdict(tables, code="1").sentence


class Look:
    """The sensor over a lake, with Dagster's events of its assets."""

    def __init__(self, tables: Lake, but: Collection[str] = ()) -> None:
        self.tables, self.daemon = tables, Daemon()
        self.cursor: str | None = None
        names = [spec.key.to_user_string() for spec in self.daemon.definitions.resolve_all_asset_specs()]
        self.daemon.materialize(*(name for name in names if name not in but))
        self.requests: list[dg.RunRequest] = []

    def __call__(self) -> str:
        sensor = training_sensor.build(THREE, dg.DefaultSensorStatus.RUNNING)
        result = self.daemon.look(sensor, self.tables.root, self.cursor)
        self.cursor = result.cursor or self.cursor
        for event in result.asset_events:  # as the daemon does
            self.daemon.instance.report_runless_asset_event(event)
        self.requests += result.run_requests or []
        return "a run" if result.run_requests else str(result.skip_message)


def test_the_sensor_says_why_it_does_not_train(lake: Lake) -> None:
    look = Look(lake)
    assert look() == "0 of 3 new training examples"
    look.daemon.materialize("image_table")
    assert look() == ("waiting for scores/entropy, scores/exposure, scores/phash, scores/sharpness, sft_dataset")


def test_the_sensor_asks_once_and_waits_for_its_run(lake: Lake) -> None:
    look = Look(lake)
    more(lake, 3)
    look.daemon.materialize("sft_dataset")
    assert look() == "a run"
    (request,) = look.requests
    assert (request.asset_selection, request.tags["training/because"]) == ([TRAINED], "3 of 3 new training examples")
    run = look.daemon.start("llava_checkpoint")
    assert look() == f"run {run.run_id[:8]} is training, or is to do so"
    look.daemon.fail(run)
    because = "asked for before, and the run failed or trained nothing; materialize llava_checkpoint by hand"
    sentence = f"3 of 3 new training examples: {because}"
    assert [look(), look()] == [sentence] * 2
    more(lake, 1)
    look.daemon.materialize("sft_dataset")
    assert look() == "a run"
    checkpoint(lake, training=retrained, code=CODE)
    look.daemon.materialize("llava_checkpoint")
    assert look() == "0 of 3 new training examples"
    assert len({request.run_key for request in look.requests}) == 2


def test_a_run_that_trains_nothing_is_not_asked_for_again(lake: Lake) -> None:
    look = Look(lake)
    more(lake, 3)
    look.daemon.materialize("sft_dataset")
    assert look() == "a run"
    for _ in range(2):  # it finds the checkpoint that there is, for it was started with other settings
        look.daemon.materialize("llava_checkpoint", same=["llava_checkpoint"])
        assert "asked for before, and the run failed or trained nothing" in look()
    assert len(look.requests) == 1


def test_an_older_training_that_is_still_going_is_not_joined_by_another(lake: Lake) -> None:
    look = Look(lake)
    older = look.daemon.start("llava_checkpoint")
    look.daemon.fail(look.daemon.start("llava_checkpoint"))
    more(lake, 3)
    look.daemon.materialize("sft_dataset")
    assert look() == f"run {older.run_id[:8]} is training, or is to do so"


def test_a_training_waits_for_the_checks_of_what_it_is_trained_on(lake: Lake) -> None:
    look = Look(lake)
    more(lake, 3)
    run = look.daemon.start("sft_dataset")
    look.daemon.materialize("sft_dataset")
    checks = ("leak_free_split", "lineage_verified", "pre_flight")
    assert look() == f"waiting for {', '.join(f'sft_dataset: {name}' for name in checks)}"
    look.daemon.fail(run)
    assert look() == "a run"


def test_an_instance_that_does_not_know_the_checkpoint_of_the_lake_adopts_it(lake: Lake) -> None:
    before = newest(lake, "llava_checkpoint")
    look = Look(lake, but=["llava_checkpoint"])
    more(lake, 1)
    assert look() == f"the lake has a checkpoint, {before.data_version}: adopted, nothing is trained"
    record = newest(lake, "llava_checkpoint")
    assert (record.reused, record.run_id, record.ref) == (True, "", before.ref)
    (event,) = look.daemon.instance.fetch_materializations(TRAINED, limit=5).records
    adopted = event.asset_materialization
    assert adopted is not None
    assert adopted.metadata["lineage_record"].value == record.id
    assert adopted.tags is not None
    assert adopted.tags["dagster/data_version"] == record.data_version
    assert look.daemon.tick() == {"evaluation"}
    assert look() == "1 of 3 new training examples"
    assert len(look.daemon.instance.fetch_materializations(TRAINED, limit=5).records) == 1


def test_the_checkpoint_is_adopted_before_anything_is_waited_for(lake: Lake) -> None:
    look = Look(lake, but=["llava_checkpoint", "sft_dataset", "image_table"])
    look.daemon.start("llava_checkpoint")
    assert "adopted" in look()
    assert "is training" in look()
