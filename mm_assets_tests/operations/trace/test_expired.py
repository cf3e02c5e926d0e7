"""Expired versions are named as such; what other tables know without them is still in the trace."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mm_assets.engines.lake.tables import Lake, table_id
from mm_assets.history.history import History
from mm_assets.operations.trace.find import sentence_not_found
from mm_assets.operations.trace.kinds.versions import unreadable_version
from mm_assets.operations.trace.lake import TracedLake
from mm_assets.operations.upkeep.job import maintain
from mm_assets.settings import CurateSettings, UpkeepSettings
from mm_assets.stages.curate.tables import SFT_SCHEMA
from mm_assets_tests.kit.lake_rows import expiries
from mm_assets_tests.kit.small_lake import LABEL, dataset
from mm_assets_tests.kit.tracing import of_kind, one, traces_of
from mm_assets_tests.kit.two_rounds import CHANGED, ORIGINAL, REMOVED, Rounds, draw, refresh


@pytest.fixture
def kept(own_rounds: Rounds) -> Rounds:
    """A third round (here: `second`), after which the versions of the first are expired; not what its model said."""
    (own_rounds.folder / CHANGED).write_bytes(draw("pool", 992))
    third = refresh(own_rounds.tables, own_rounds.folder, seed=3)
    maintain(own_rounds.tables, UpkeepSettings(keep_last=1, grace_seconds=0, scratch_seconds=0), "upkeep", print)
    assert expiries(own_rounds.tables)
    return replace(own_rounds, second=third)


def test_an_expired_dataset_is_named_with_its_checkpoint(kept: Rounds) -> None:
    trace = one(kept.tables, ORIGINAL)
    digest = kept.first["llava_checkpoint"].metadata["digest"]
    (expired,) = [node for node in of_kind(trace.down, "let go") if node.facts["asset"] == "sft_dataset"]
    assert (expired.id, expired.facts["why"]) == (kept.first["sft_dataset"].data_version, "expired")
    assert expired.facts["reason"] == {"reason": "retention", "keep_last": 1}
    (model,) = expired.children
    answers = [node.facts["challenger"] for node in model.children]
    assert (model.id, model.facts["how"]) == (digest, "held out, evaluated on it" if answers else "not known")
    assert set(answers) <= {digest}
    newest = of_kind(trace.down, "example")[0]
    assert newest.facts["sft_dataset"] == kept.second["sft_dataset"].data_version


def test_an_image_of_no_version_is_known_by_what_it_was_used_for(kept: Rounds) -> None:
    trace = one(kept.tables, REMOVED)
    assert trace.facts == {"state": "let go"}
    (expired,) = trace.up
    assert (expired.kind, expired.facts["versions"][-1]) == ("let go", kept.first["image_table"].data_version)
    assert [node.facts["same_bytes"] for node in of_kind(trace.down, "prediction")] == [None]


def test_only_what_maintenance_took_is_said_to_be_expired(kept: Rounds) -> None:
    before = [node.facts for node in one(kept.tables, ORIGINAL).up if node.kind == "let go"]
    assert [facts["why"] for facts in before] == ["expired"]
    by_hand = replace(kept.second["image_table"], id="by hand", ref=kept.tables.ref("images", 1))
    History.read(kept.tables).append(by_hand)
    after = [node.facts for node in one(kept.tables, ORIGINAL).up if node.kind == "let go"]
    assert after == [*before, {"asset": "image_table", "versions": [by_hand.data_version], "why": "removed"}]


def test_an_empty_table_is_the_same_table(tables: Lake) -> None:
    ds = tables.open_or_create("sft", SFT_SCHEMA, {})
    version = f"sft:{table_id(ds)[:6]}@v99"
    lake = TracedLake(tables)
    assert lake.ref("sft_dataset", version) == tables.ref("sft", 99)
    assert unreadable_version(lake, "sft_dataset", version).facts["why"] == "removed"
    assert unreadable_version(lake, "sft_dataset", "sft:000000@v99").facts["why"] == "its table was dropped or replaced"


def test_a_prediction_of_bytes_that_are_gone_names_the_version_that_had_them(kept: Rounds) -> None:
    predictions = kept.tables.open("predictions").to_table(filter=f"image_id = '{REMOVED}'").to_pylist()
    _, image, model = one(kept.tables, predictions[0]["id"]).up
    assert (image.kind, image.id) == ("let go", kept.first["image_table"].data_version)
    assert model.id == predictions[0]["model_digest"]


def test_a_prediction_of_bytes_that_are_still_there_finds_them_in_another_version(kept: Rounds) -> None:
    digest = kept.first["llava_checkpoint"].metadata["digest"]
    asked_for = f"image_id = '{ORIGINAL}' and model_digest = '{digest}'"
    (row,) = kept.tables.open("predictions").to_table(filter=asked_for).to_pylist()
    trace = one(kept.tables, row["id"])
    written, image, _ = trace.up
    assert written.facts["exact"] is False or written.facts["run_id"] == kept.first["batch_predictions"].run_id
    assert image.facts["data_version"] == kept.second["image_table"].data_version
    assert image.facts["sha256"] == row["sha256"]


def test_a_row_whose_commit_is_gone_is_stood_for_by_a_later_materialization(kept: Rounds) -> None:
    (written, *_) = of_kind(one(kept.tables, ORIGINAL).up, "commit")
    assert written.id == kept.first["image_table"].data_version
    assert (written.facts["exact"], written.facts["run_id"]) == (False, kept.first["image_table"].run_id)


def test_the_version_itself_says_that_it_expired(kept: Rounds) -> None:
    trace = one(kept.tables, kept.first["sft_dataset"].data_version)
    assert trace.facts["let_go"] is not None
    assert one(kept.tables, kept.second["sft_dataset"].data_version).facts["let_go"] is None


def test_checkpoints_of_a_dataset_that_was_dropped_are_named(own_rounds: Rounds) -> None:
    shutil.rmtree(Path(own_rounds.tables.root, "sft.lance"))
    dataset(own_rounds.tables, CurateSettings(tasks=[LABEL]))
    trace = one(own_rounds.tables, CHANGED)
    whys = {node.id: node.facts["why"] for node in of_kind(trace.down, "let go")}
    assert whys == {
        record["sft_dataset"].data_version: "its table was dropped or replaced"
        for record in (own_rounds.first, own_rounds.second)
    }


def test_what_nobody_remembers_is_not_found(kept: Rounds) -> None:
    assert traces_of(kept.tables, f"label:{REMOVED}") == []
    assert "near it" not in sentence_not_found(TracedLake(kept.tables), "nothing/like/it.png")
