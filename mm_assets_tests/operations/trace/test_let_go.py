"""What maintenance has let go is named as such, and what is known without it is still told."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mm_assets.engines.lake.tables import Lake, table_id
from mm_assets.history.history import History
from mm_assets.operations.trace.find import not_found
from mm_assets.operations.trace.kinds.versions import let_go
from mm_assets.operations.trace.lake import TracedLake
from mm_assets.operations.upkeep.job import maintain
from mm_assets.settings import CurateSettings, UpkeepSettings
from mm_assets.stages.curate.tables import SFT_SCHEMA
from mm_assets_tests.kit.lake_rows import expiries
from mm_assets_tests.kit.small_lake import LABEL, dataset
from mm_assets_tests.kit.tracing import asked, of_kind, one
from mm_assets_tests.kit.two_rounds import CHANGED, ORIGINAL, REMOVED, Rounds, draw, refresh


@pytest.fixture
def kept(own_rounds: Rounds) -> Rounds:
    """A third round (here: `second`), after which the versions of the first are let go; not what its model said."""
    (own_rounds.folder / CHANGED).write_bytes(draw("pool", 992))
    third = refresh(own_rounds.tables, own_rounds.folder, seed=3)
    maintain(own_rounds.tables, UpkeepSettings(keep_last=1, grace_seconds=0, scratch_seconds=0), "upkeep", print)
    assert expiries(own_rounds.tables)
    return replace(own_rounds, second=third)


def test_a_dataset_that_was_let_go_is_named_with_its_checkpoint(kept: Rounds) -> None:
    found = one(kept.tables, ORIGINAL)
    digest = kept.first["llava_checkpoint"].metadata["digest"]
    (gone,) = [node for node in of_kind(found.down, "let go") if node.said["asset"] == "sft_dataset"]
    assert (gone.id, gone.said["why"]) == (kept.first["sft_dataset"].data_version, "let go by maintenance")
    assert gone.said["reason"] == {"reason": "retention", "keep_last": 1}
    (model,) = gone.children
    answers = [node.said["challenger"] for node in model.children]
    assert (model.id, model.said["how"]) == (digest, "held out, evaluated on it" if answers else "not known")
    assert set(answers) <= {digest}
    newest = of_kind(found.down, "example")[0]
    assert newest.said["sft_dataset"] == kept.second["sft_dataset"].data_version


def test_an_image_of_no_version_is_known_by_what_it_was_used_for(kept: Rounds) -> None:
    found = one(kept.tables, REMOVED)
    assert found.said == {"state": "let go"}
    (gone,) = found.up
    assert (gone.kind, gone.said["versions"][-1]) == ("let go", kept.first["image_table"].data_version)
    assert [node.said["same_bytes"] for node in of_kind(found.down, "prediction")] == [None]


def test_only_what_maintenance_took_is_said_to_be_let_go_by_it(kept: Rounds) -> None:
    before = [node.said for node in one(kept.tables, ORIGINAL).up if node.kind == "let go"]
    assert [said["why"] for said in before] == ["let go by maintenance"]
    by_hand = replace(kept.second["image_table"], id="by hand", ref=kept.tables.ref("images", 1))
    History.read(kept.tables).append(by_hand)
    after = [node.said for node in one(kept.tables, ORIGINAL).up if node.kind == "let go"]
    assert after == [*before, {"asset": "image_table", "versions": [by_hand.data_version], "why": "removed"}]


def test_an_empty_table_is_the_same_table(tables: Lake) -> None:
    ds = tables.open_or_create("sft", SFT_SCHEMA, {})
    version = f"sft:{table_id(ds)[:6]}@v99"
    lake = TracedLake(tables)
    assert lake.ref("sft_dataset", version) == tables.ref("sft", 99)
    assert let_go(lake, "sft_dataset", version).said["why"] == "removed"
    assert let_go(lake, "sft_dataset", "sft:000000@v99").said["why"] == "its table is not the same any more"


def test_a_prediction_of_bytes_that_are_gone_names_the_version_that_had_them(kept: Rounds) -> None:
    predictions = kept.tables.open("predictions").to_table(filter=f"image_id = '{REMOVED}'").to_pylist()
    _, image, model = one(kept.tables, predictions[0]["id"]).up
    assert (image.kind, image.id) == ("let go", kept.first["image_table"].data_version)
    assert model.id == predictions[0]["model_digest"]


def test_a_prediction_of_bytes_that_are_still_there_finds_them_in_another_version(kept: Rounds) -> None:
    digest = kept.first["llava_checkpoint"].metadata["digest"]
    asked_for = f"image_id = '{ORIGINAL}' and model_digest = '{digest}'"
    (row,) = kept.tables.open("predictions").to_table(filter=asked_for).to_pylist()
    found = one(kept.tables, row["id"])
    written, image, _ = found.up
    assert written.said["exact"] is False or written.said["run_id"] == kept.first["batch_predictions"].run_id
    assert image.said["data_version"] == kept.second["image_table"].data_version
    assert image.said["sha256"] == row["sha256"]


def test_a_row_whose_commit_is_gone_is_told_by_a_later_materialization(kept: Rounds) -> None:
    (written, *_) = of_kind(one(kept.tables, ORIGINAL).up, "commit")
    assert written.id == kept.first["image_table"].data_version
    assert (written.said["exact"], written.said["run_id"]) == (False, kept.first["image_table"].run_id)


def test_the_version_itself_says_that_it_was_let_go(kept: Rounds) -> None:
    found = one(kept.tables, kept.first["sft_dataset"].data_version)
    assert found.said["let_go"] is not None
    assert one(kept.tables, kept.second["sft_dataset"].data_version).said["let_go"] is None


def test_checkpoints_of_a_dataset_that_was_dropped_are_named(own_rounds: Rounds) -> None:
    shutil.rmtree(Path(own_rounds.tables.root, "sft.lance"))
    dataset(own_rounds.tables, CurateSettings(tasks=[LABEL]))
    found = one(own_rounds.tables, CHANGED)
    whys = {node.id: node.said["why"] for node in of_kind(found.down, "let go")}
    assert whys == {
        made["sft_dataset"].data_version: "its table is not the same any more"
        for made in (own_rounds.first, own_rounds.second)
    }


def test_what_nobody_remembers_is_not_found(kept: Rounds) -> None:
    assert asked(kept.tables, f"label:{REMOVED}") == []
    assert "near it" not in not_found(TracedLake(kept.tables), "nothing/like/it.png")
