"""The way of a data version: each materialization is told once, up and down."""

from dataclasses import replace

import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.history.history import History
from mm_assets.operations.trace.nodes import Trace
from mm_assets_tests.kit.lake_rows import image_row, plain, record, write_images
from mm_assets_tests.kit.reused_dataset import Reused
from mm_assets_tests.kit.tracing import of_kind, one, traces_of
from mm_assets_tests.kit.two_rounds import Rounds


def test_up_holds_all_that_a_version_was_made_from_each_once(rounds: Rounds) -> None:
    last = rounds.second["batch_predictions"]
    trace = one(rounds.tables, last.data_version)
    assert (trace.kind, trace.facts["asset"], trace.facts["run_id"]) == ("version", "batch_predictions", last.run_id)
    nodes = of_kind(trace.up, "version")
    listed = [(node.facts["asset"], node.id) for node in nodes if node.facts.get("see") != "above"]
    expected = {(asset, record.data_version) for asset, record in rounds.second.items() if asset != "batch_predictions"}
    base = next(item for item in rounds.second["sft_dataset"].inputs if item.asset == "base_model")
    assert len(listed) == len(set(listed))
    assert set(listed) == expected | {("base_model", base.data_version)}
    again = {(node.facts["asset"], node.id) for node in nodes if node.facts.get("see") == "above"}
    assert again <= set(listed)
    assert all(not node.children for node in nodes if node.facts.get("see") == "above")


def test_down_holds_all_that_was_made_from_it(rounds: Rounds) -> None:
    trace = one(rounds.tables, rounds.first["raw_images"].data_version)
    nodes = [node for node in of_kind(trace.down, "version") if node.facts.get("see") != "above"]
    expected = {(asset, record.data_version) for asset, record in rounds.first.items() if asset != "raw_images"}
    assert {(node.facts["asset"], node.id) for node in nodes} == expected
    assert len(nodes) == len(expected)


def test_assets_that_share_a_version_are_all_told(rounds: Rounds) -> None:
    traces = traces_of(rounds.tables, rounds.first["scores/phash"].data_version)
    assert [item.facts["asset"] for item in traces] == [
        f"scores/{name}" for name in ("entropy", "exposure", "phash", "sharpness")
    ]


def test_a_version_that_was_materialized_again_says_how_often(own_rounds: Rounds) -> None:
    record = own_rounds.second["sft_dataset"]
    History.read(own_rounds.tables).append(replace(record, id="again", run_id="another", reused=True))
    trace = one(own_rounds.tables, record.data_version)
    assert trace.facts["reused"] == 1
    assert trace.facts["run_id"] == own_rounds.second["sft_dataset"].run_id


def test_an_input_that_the_history_has_lost_is_named(tables: Lake, rounds: Rounds) -> None:
    write_images(tables, [image_row("a", None, plain("red"))])
    stored = record(tables, "image_table", [rounds.first["raw_images"]])
    assert len(History.read(tables).records) == 1
    (node,) = one(tables, stored.data_version).up
    assert (node.id, node.facts["lost"]) == (rounds.first["raw_images"].data_version, True)


def image_table(reused: Reused, time: int) -> Trace:
    """The trace of the image table of a time: other assets share the first version."""
    traces = traces_of(reused.tables, reused.images[time].data_version)
    (own,) = (item for item in traces if item.facts["asset"] == "image_table")
    return own


@pytest.mark.parametrize("time", [0, 1])
def test_a_version_that_was_read_again_has_the_readers_of_that_time(reused: Reused, time: int) -> None:
    trace = image_table(reused, time)
    (record,) = [node for node in trace.down if node.facts["asset"] == "sft_dataset"]
    assert (record.id, record.facts["found_unchanged"]) == (reused.datasets[0].data_version, bool(time))
    assert [node.id for node in of_kind([record], "version")[1:]] == [reused.checkpoints[time].data_version]


def test_a_dataset_that_was_found_unchanged_has_the_readers_of_all_times(reused: Reused) -> None:
    trace = one(reused.tables, reused.datasets[0].data_version)
    assert [node.id for node in trace.down] == [record.data_version for record in reused.checkpoints]
    assert {node.facts["found_unchanged"] for node in trace.down} == {False}
