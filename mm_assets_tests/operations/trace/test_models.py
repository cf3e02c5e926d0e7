"""The way of a model, and of a prediction."""

import pytest

from mm_assets.engines.models.registry import SCHEMA
from mm_assets.operations.trace.lines import line
from mm_assets.operations.trace.nodes import Node
from mm_assets_tests.kit.lake_rows import write
from mm_assets_tests.kit.reused_dataset import Reused
from mm_assets_tests.kit.tracing import of_kind, one, traces_of
from mm_assets_tests.kit.two_rounds import CHANGED, REMOVED, Rounds


@pytest.mark.parametrize("digits", [6, 11, 16])
def test_a_checkpoint_is_known_by_its_first_digits(rounds: Rounds, digits: int) -> None:
    digest = rounds.first["llava_checkpoint"].metadata["digest"]
    trace = one(rounds.tables, digest[:digits])
    assert (trace.kind, trace.id, trace.facts["in_production"]) == ("checkpoint", digest, False)
    assert trace.facts["run_id"] == rounds.first["llava_checkpoint"].run_id
    inputs = {node.facts["asset"]: node for node in trace.up if node.kind == "version"}
    dataset = rounds.first["sft_dataset"]
    assert inputs["sft_dataset"].id == dataset.data_version
    assert inputs["sft_dataset"].facts["splits"] == dataset.metadata["splits"]
    assert {node.id for node in of_kind(trace.up, "version")} >= {item.data_version for item in dataset.inputs}
    (recipe,) = of_kind(trace.up, "recipe")
    assert recipe.facts["sft_dataset"] == dataset.data_version


def test_a_checkpoint_says_how_it_was_judged_and_what_it_answered(rounds: Rounds) -> None:
    judged = rounds.second["evaluation"]
    trace = one(rounds.tables, judged.metadata["challenger"])
    (evaluation,) = of_kind(trace.down, "evaluation")
    assert (evaluation.id, evaluation.facts["as"]) == (judged.data_version, "challenger")
    assert evaluation.facts["other"] == judged.metadata["champion"]
    assert {name: evaluation.facts[name] for name in ("accuracy", "promoted")} == {
        name: judged.metadata[name] for name in ("accuracy", "promoted")
    }
    (predictions,) = of_kind(trace.down, "predictions")
    last = rounds.second["batch_predictions"]
    assert (predictions.id, predictions.facts["count"]) == (last.metadata["prompt_digest"], last.metadata["rows"])
    assert predictions.facts["data_version"] == last.data_version


def test_the_base_model_leads_to_the_checkpoints_made_from_it(rounds: Rounds) -> None:
    trace = one(rounds.tables, rounds.first["evaluation"].metadata["champion"])
    assert trace.kind == "base model"
    digests = [record["llava_checkpoint"].metadata["digest"] for record in (rounds.first, rounds.second)]
    assert [node.id for node in of_kind(trace.down, "checkpoint")] == digests
    assert [node.facts["as"] for node in of_kind(trace.down, "evaluation")] == ["champion", "champion"]


BROKEN_ROWS = [
    ({}, ["inputs is null", "recipe is null", "metrics is null"]),
    (
        {"inputs": "{", "recipe": "[1]", "metrics": "null"},
        ["inputs is no JSON", "recipe is no JSON object", "metrics is no JSON object"],
    ),
    ({"inputs": '{"sft_dataset": 1}', "recipe": "{}", "metrics": "{}"}, ["inputs has a version that is no text"]),
]


@pytest.mark.parametrize(("columns", "wrong"), BROKEN_ROWS)
def test_a_row_of_the_registry_that_cannot_be_read_says_what_is_wrong(
    own_rounds: Rounds, columns: dict[str, str], wrong: list[str]
) -> None:
    write(own_rounds.tables, "models", SCHEMA, [{"digest": "ab" * 8, "kind": "checkpoint", **columns}])
    trace = one(own_rounds.tables, "ab" * 8)
    assert (trace.facts["wrong"], trace.facts["created_at"], trace.up) == (wrong, None, ())
    name, facts = line(Node(trace.kind, trace.id, trace.facts))
    assert (name, facts) == (f"checkpoint {'ab' * 8}", ["run not known", f"wrong in the registry: {', '.join(wrong)}"])
    digest = own_rounds.second["llava_checkpoint"].metadata["digest"]
    assert one(own_rounds.tables, digest).facts["wrong"] == []
    assert digest in [node.id for node in of_kind(one(own_rounds.tables, CHANGED).down, "checkpoint")]


def test_too_few_digits_name_no_model(rounds: Rounds) -> None:
    assert traces_of(rounds.tables, rounds.first["llava_checkpoint"].metadata["digest"][:5]) == []


@pytest.mark.parametrize("name", [CHANGED, REMOVED])
def test_a_prediction_leads_to_the_bytes_and_the_model_that_it_was_made_from(rounds: Rounds, name: str) -> None:
    digest = rounds.first["llava_checkpoint"].metadata["digest"]
    asked_for = f"image_id = '{name}' and model_digest = '{digest}'"
    (row,) = rounds.tables.open("predictions").to_table(filter=asked_for).to_pylist()
    trace = one(rounds.tables, row["id"])
    assert (trace.kind, trace.facts["answer"], trace.down) == ("prediction", row["answer"], ())
    written, image, model = trace.up
    assert written.facts["run_id"] == rounds.first["batch_predictions"].run_id
    pinned = rounds.first["image_table"].data_version
    assert (image.id, image.facts["pinned"], image.facts["data_version"]) == (name, pinned, pinned)
    assert image.facts["sha256"] == row["sha256"]
    assert [node.id for node in of_kind([image], "object")] == [name]
    assert (model.kind, model.id) == ("checkpoint", digest)
    assert rounds.first["sft_dataset"].data_version in [node.id for node in of_kind([model], "version")]


@pytest.mark.parametrize("time", [0, 1])
def test_a_checkpoint_leads_to_the_images_of_its_own_time(reused: Reused, time: int) -> None:
    trace = one(reused.tables, reused.checkpoints[time].metadata["digest"])
    images = [node.id for node in of_kind(trace.up, "version") if node.facts["asset"] == "image_table"]
    assert set(images) == {reused.images[time].data_version}
