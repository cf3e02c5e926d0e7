"""What is requested at each tick, exactly: the graph goes level by level, and nothing runs for nothing."""

import pytest

from mm_assets_tests.kit.daemon import Daemon, trained

SCORES = {f"scores/{name}" for name in ("sharpness", "exposure", "entropy", "phash")}
NEAR, DATASET, MODEL = "scores/near_duplicates", "sft_dataset", "llava_checkpoint"


@pytest.fixture
def settled() -> Daemon:
    return trained(Daemon())


def test_on_a_fresh_instance_everything_comes_into_being_in_order() -> None:
    daemon = Daemon()
    assert daemon.settle() == [{"raw_images", "base_model"}, {"image_table"}, SCORES, {NEAR}, {DATASET}]
    daemon.materialize(MODEL)
    assert daemon.settle() == [{"evaluation"}, {"batch_predictions", "serving_bundle"}]
    assert daemon.tick() == set()


def test_a_fresh_instance_over_an_old_lake_settles_with_the_versions_that_are_there(settled: Daemon) -> None:
    daemon = Daemon(versions=dict(settled.versions))
    requested = daemon.tick()
    assert requested == {"raw_images", "base_model"}
    while requested:
        daemon.materialize(*requested, same=requested)
        requested = daemon.tick()
    daemon.materialize(MODEL, same=[MODEL])  # the sensor adopts it: see test_training.py
    while requested := daemon.tick():
        daemon.materialize(*requested, same=requested)
    assert daemon.versions == settled.versions


def test_new_images_go_down_the_graph_level_by_level(settled: Daemon) -> None:
    settled.materialize("raw_images")
    assert settled.settle() == [{"image_table"}, {"batch_predictions"} | SCORES, {NEAR}, {DATASET}]


def test_a_version_that_is_reproduced_requests_nothing(settled: Daemon) -> None:
    for name in ("raw_images", "image_table", "scores/phash", NEAR, "base_model", DATASET, MODEL, "evaluation"):
        settled.materialize(name, same=[name])
        assert settled.tick() == set(), name


def test_the_cascade_ends_where_a_version_is_reproduced(settled: Daemon) -> None:
    settled.materialize("raw_images")
    assert settled.tick() == {"image_table"}
    settled.materialize("image_table", same=["image_table"])
    assert settled.tick() == set()


def test_images_that_are_removed_change_no_score_and_yet_the_dataset(settled: Daemon) -> None:
    settled.materialize("image_table")
    assert settled.tick() == {"batch_predictions"} | SCORES
    settled.materialize("batch_predictions", *SCORES, same=SCORES)
    assert settled.tick() == {DATASET}


@pytest.mark.parametrize("last", sorted(SCORES - {"scores/phash"}))
def test_the_dataset_waits_for_every_score_and_for_the_groups(settled: Daemon, last: str) -> None:
    settled.materialize("image_table")
    settled.tick()
    settled.materialize("batch_predictions", *(SCORES - {last}))
    assert settled.tick() == {NEAR}
    settled.materialize(NEAR)
    assert settled.tick() == set()
    settled.materialize(last)
    assert settled.tick() == {DATASET}


def test_the_dataset_waits_for_groups_of_which_only_the_hashes_are_late(settled: Daemon) -> None:
    settled.materialize("image_table")
    settled.tick()
    settled.materialize("batch_predictions", *(SCORES - {"scores/phash"}))
    assert settled.tick() == set()  # the groups have not changed: what they are made from is to change
    settled.materialize("scores/phash", same=["scores/phash"])
    assert settled.tick() == {DATASET}


@pytest.mark.parametrize(
    ("setting", "value", "asset"),
    [
        ("MM_CURATE__LIMITS", '{"entropy": {"min": 3}}', DATASET),
        ("MM_DUPLICATES__MAX_DISTANCE", "3", NEAR),
        ("MM_EVALUATE__MIN_ACCURACY", "0.9", "evaluation"),
        ("MM_INGEST__MAX_BYTES", "1000", "image_table"),
        ("MM_SERVE__MODE", "rolling_batch", "serving_bundle"),
    ],
)
def test_a_setting_requests_who_reads_it(
    settled: Daemon, setting: str, value: str, asset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(setting, value)
    settled.definitions = Daemon().definitions
    assert settled.tick() == {asset}
    settled.materialize(asset, same=[asset])
    assert settled.tick() == set()


def test_a_recipe_is_no_matter_of_conditions(settled: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_TRAIN__EPOCHS", "7")
    settled.definitions = Daemon().definitions
    assert settled.tick() == set()


def test_what_comes_after_the_training_works_with_the_checkpoint_that_there_is(settled: Daemon) -> None:
    settled.materialize("image_table", *SCORES, NEAR, DATASET)
    assert settled.settle() == [{"batch_predictions"}]  # though the checkpoint is of an older dataset
    settled.materialize(MODEL)
    assert settled.settle() == [{"evaluation"}, {"batch_predictions", "serving_bundle"}]


def test_a_failed_run_is_not_tried_again_and_holds_what_follows(settled: Daemon) -> None:
    settled.materialize("image_table")
    assert settled.tick() == {"batch_predictions"} | SCORES
    run = settled.start(*SCORES)
    settled.materialize("batch_predictions")
    assert settled.tick() == set()
    settled.materialize("scores/entropy", "scores/phash")
    settled.fail(run)
    assert settled.tick() == {NEAR}
    settled.materialize(NEAR)
    assert [settled.tick() for _ in range(3)] == [set()] * 3
    settled.materialize("image_table")
    assert settled.tick() == {"batch_predictions"} | SCORES


def test_what_failed_goes_on_when_somebody_has_run_it(settled: Daemon) -> None:
    settled.materialize("raw_images")
    settled.tick()
    settled.fail(settled.start("image_table"))
    assert settled.tick() == set()
    settled.materialize("image_table")
    assert settled.tick() == {"batch_predictions"} | SCORES


def test_failures_of_a_first_time_do_not_loop() -> None:
    daemon = Daemon()
    assert daemon.tick() == {"raw_images", "base_model"}
    daemon.fail(daemon.start("raw_images", "base_model"))
    assert [daemon.tick() for _ in range(3)] == [set()] * 3
    daemon.materialize("raw_images")
    assert daemon.tick() == {"image_table"}


def test_an_input_that_changed_while_the_asset_was_made_is_not_missed(settled: Daemon) -> None:
    settled.materialize("image_table")
    before = settled.versions["image_table"]
    assert settled.tick() == {"batch_predictions"} | SCORES
    run = settled.start("batch_predictions", *SCORES)
    settled.materialize("image_table")
    assert settled.tick() == set()
    settled.materialize("batch_predictions", *SCORES, read={"image_table": before})
    settled.fail(run)
    assert settled.tick() == {"batch_predictions"} | SCORES


def test_what_changed_while_the_daemon_was_stopped_is_not_missed(settled: Daemon) -> None:
    settled.materialize("raw_images")
    settled.cursor = None  # as where the sensor's cursor was reset
    assert settled.tick() == {"image_table"}


def test_nothing_starts_beside_a_run_of_an_input(settled: Daemon) -> None:
    run = settled.start("image_table")
    settled.materialize("raw_images")
    assert settled.tick() == set()
    settled.fail(run)
    assert settled.tick() == {"image_table"}
