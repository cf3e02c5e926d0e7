"""The way of an example: up to the bytes that its dataset has pinned, down to checkpoints and their answers."""

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.registry import SCHEMA as MODELS_SCHEMA
from mm_assets.engines.models.registry import TABLE as MODELS
from mm_assets.engines.models.registry import Model, register
from mm_assets.lineage.records import Record
from mm_assets.stages.curate.tables import SFT, SFT_SCHEMA
from mm_assets_tests.kit.lake_rows import image_row, plain, record, write, write_images
from mm_assets_tests.kit.reused_dataset import Reused
from mm_assets_tests.kit.small_lake import photos
from mm_assets_tests.kit.tracing import of_kind, one, traces_of
from mm_assets_tests.kit.two_rounds import CHANGED, REMOVED, Rounds


def test_the_images_are_those_that_each_dataset_has_pinned(rounds: Rounds) -> None:
    trace = one(rounds.tables, f"label:{CHANGED}")
    first, second = (record["image_table"].data_version for record in (rounds.first, rounds.second))
    images = [node for node in trace.up if node.kind == "image"]
    assert [(node.facts["pinned"], node.facts["data_version"]) for node in images] == [(first, first), (second, second)]
    assert len({node.facts["sha256"] for node in images}) == 2
    versions = [record["sft_dataset"].data_version for record in (rounds.second, rounds.first)]
    assert [node.id for node in trace.up if node.kind == "version"] == versions
    assert [node.facts["sft_dataset"] for node in of_kind(trace.down, "example")] == versions


def test_the_answers_of_the_held_out_split_say_right_or_wrong(rounds: Rounds) -> None:
    for row in rounds.tables.open("evaluations").to_table().to_pylist():
        trace = one(rounds.tables, f"label:{row['image_id']}")
        (answer,) = [node for node in of_kind(trace.down, "held-out answer") if node.id == row["evaluation_id"]]
        assert answer.facts["right"] is bool(row["challenger_score"])
        assert answer.facts["champion_label"] == row["champion_label"]


def test_an_example_of_an_older_dataset_is_found(rounds: Rounds) -> None:
    trace = one(rounds.tables, f"label:{REMOVED}")
    assert (trace.facts["newest"], trace.facts["split"]) == (False, "train")
    (image,) = [node for node in trace.up if node.kind == "image"]
    assert (image.id, image.facts["sha256"]) == (REMOVED, trace.facts["sha256"])


def test_an_example_of_a_task_that_is_not_taught_is_none(rounds: Rounds) -> None:
    assert traces_of(rounds.tables, f"caption:{CHANGED}") == []


GONE = "f" * 64


def example_of_bytes_that_are_gone(tables: Lake) -> Record:
    """A dataset with an example of an image that no image table has."""
    write_images(tables, [image_row("there", None, plain("red"))])
    record(tables, "image_table")
    row = {"example_id": "label:gone", "task": "label", "images": [{"image_id": "gone", "sha256": GONE}]}
    left_out = {"example_id": "label:there", "task": "label", "left_out": "no label", "images": None}
    write(tables, SFT, SFT_SCHEMA, [left_out, {**row, "split": "train"}])
    return record(tables, "sft_dataset")


def test_bytes_that_a_dataset_alone_names_lead_to_the_image(tables: Lake) -> None:
    record = example_of_bytes_that_are_gone(tables)
    copies, trace = traces_of(tables, GONE)
    assert (copies.facts["copies"], trace.id, trace.facts) == (1, "gone", {"state": "let go"})
    (example,) = of_kind(trace.down, "example")
    assert (example.facts["sft_dataset"], example.facts["sha256"]) == (record.data_version, GONE)


def test_bytes_that_a_dataset_of_before_alone_names_lead_to_the_image(tables: Lake) -> None:
    stored = example_of_bytes_that_are_gone(tables)
    tables.open_or_create(MODELS, MODELS_SCHEMA, {})
    inputs = {"sft_dataset": stored.data_version}
    register(tables, Model("ab" * 8, "checkpoint", "x", 1, inputs, recipe={}, metrics={}), "run", {})
    commit(tables, SFT, lambda ds: replace_rows(ds, "example_id", ["label:gone"], []), {})
    record(tables, "sft_dataset")
    _, trace = traces_of(tables, GONE)
    assert (trace.id, [node.id for node in of_kind(trace.down, "checkpoint")]) == ("gone", ["ab" * 8])


def test_bytes_that_nothing_names_are_not_found(rounds: Rounds) -> None:
    assert traces_of(rounds.tables, GONE) == []


def test_a_dataset_that_was_found_unchanged_names_the_images_of_each_time(reused: Reused) -> None:
    trace = one(reused.tables, f"label:{photos()[0]['image_id']}")
    before, after = (record.data_version for record in reused.images)
    (example,) = of_kind(trace.down, "example")
    pinned = {node.id: node.facts["images"] for node in of_kind(trace.down, "checkpoint")}
    digests = [record.metadata["digest"] for record in reused.checkpoints]
    assert (example.facts["images"], pinned) == (after, dict(zip(digests, (before, after), strict=True)))
    assert [node.facts["pinned"] for node in of_kind(trace.up, "image")] == [after]
