"""Checks of the predictions: coverage, moved labels, and the accuracy on held-out examples."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mm_assets.engines.lake.tables import GoneError, Lake
from mm_assets.history.history import History
from mm_assets.lineage.records import Record
from mm_assets.stages.curate.tables import SFT, SFT_SCHEMA
from mm_assets.stages.evaluate.tables import EVALUATIONS, EVALUATIONS_SCHEMA
from mm_assets.stages.predict.held_out import HeldOut, held_out_accuracy
from mm_assets.stages.predict.tables import PREDICTIONS, PREDICTIONS_SCHEMA
from mm_assets.stages.predict.verdicts import held_out, moved, predicted
from mm_assets_tests.kit.lake_rows import image_row, plain, record, write, write_images
from mm_assets_tests.kit.project import Project, verdicts_of

RED = plain("red")
Row = dict[str, Any]


def test_enough_images_must_have_an_answer() -> None:
    assert predicted(95, 100, 0.95).passed
    found = predicted(94, 100, 0.95)
    assert (found.passed, found.severity) == (False, "ERROR")
    assert found.sentence == (
        "94 of 100 usable images (94.0%) have an answer of this model to this prompt; checks.min_prediction_coverage "
        "(MM_CHECKS__MIN_PREDICTION_COVERAGE) is 0.95: look at the column error, then materialize batch_predictions "
        "with retry_errors, or allow less"
    )
    assert predicted(0, 0, 1.0).passed


def test_shares_of_labels_that_move_are_a_warning() -> None:
    assert moved({"gym": 60, "pool": 40}, {"gym": 600, "pool": 400}, 0.25, "then").passed
    found = moved({"gym": 60, "pool": 40}, {"gym": 5, "pool": 95}, 0.25, "then")
    assert (found.passed, found.severity) == (False, "WARN")
    assert moved({}, {}, 0.25, "then").sentence == "not known: there are no values to compare with then"


def test_a_drop_as_large_as_allowed_passes() -> None:
    assert held_out(HeldOut("m", 0.75, 1.0, 40), 0.25).passed
    found = held_out(HeldOut("m", 0.5, 0.9, 40), 0.25)
    assert (found.passed, found.severity) == (False, "WARN")
    assert found.sentence == (
        "accuracy 0.500 on 40 held-out examples, 0.900 when the model was evaluated; automation.max_accuracy_drop "
        "(MM_AUTOMATION__MAX_ACCURACY_DROP) is 0.25: look at what the new images and labels are like, and train again"
    )
    assert held_out(HeldOut("m", 1.0, 0.9, 40), 0.0).passed
    few = held_out(HeldOut("m", 0.8, 0.95, 5), 0.05)
    assert few.passed
    assert few.sentence.endswith("with so few examples that may be chance")
    assert held_out(None, 0.05).passed
    assert held_out(None, 0.05).sentence.startswith("not known: no held-out example")


def example(image: Row, label: str, **more: Any) -> Row:
    reference = {"image_id": image["image_id"], "sha256": image["sha256"]}
    key = {"example_id": f"label:{image['image_id']}", "task": "label", "images": [reference]}
    return {**key, "label": label, "split": "test", **more}


def answer(image: Row, label: str | None, model: str = "new", **more: Any) -> Row:
    row = {"image_id": image["image_id"], "sha256": image["sha256"], "model_digest": model, "prompt_digest": "p"}
    return {**row, "id": f"{image['image_id']}{model}", "label": label, "answer": label, **more}


def images(tables: Lake, *keys: str) -> tuple[Record, list[Row]]:
    rows = [image_row(key, None, RED) for key in keys]
    write_images(tables, rows)
    return record(tables, "image_table"), rows


def dataset(tables: Lake, *rows: Row) -> Record:
    write(tables, SFT, SFT_SCHEMA, rows)
    return record(tables, "sft_dataset")


def evaluation(tables: Lake, accuracy: float = 1.0, **more: Any) -> Record:
    write(tables, EVALUATIONS, EVALUATIONS_SCHEMA, [{"id": f"{len(History.read(tables).records)}"}])
    said = {"challenger": "new", "promoted": True, "measure": "accuracy", "accuracy": accuracy, "rows_failed": 0}
    return record(tables, "evaluation", **{**said, **more})


def predictions(tables: Lake, inputs: list[Record], *rows: Row, model: str = "new", **more: Any) -> Record:
    write(tables, PREDICTIONS, PREDICTIONS_SCHEMA, rows)
    asked = {"digest": model, "prompt_digest": "p", "task": "label", "predicted_labels": {}}
    return record(tables, "batch_predictions", inputs, **{**asked, **more})


def test_held_out_examples_are_joined_on_image_and_bytes(tables: Lake) -> None:
    table, (a, b, c, d, e, f) = images(tables, *"abcdef")
    dataset(
        tables,
        example(a, "gym"),
        example(b, "gym"),
        example({**c, "sha256": "since then other bytes"}, "gym"),
        example(d, "gym", split="train"),
        example(e, "gym", task="caption", example_id="caption:e"),
        example(f, "gym"),
    )
    made = evaluation(tables, 0.9)
    wrong = [answer(c, "pool"), answer(d, "pool"), answer(e, "pool"), answer(a, "pool", "old")]
    failed = answer(f, None, error="OutOfMemoryError: CUDA")
    predictions(tables, [table, made], answer(a, "gym"), answer(b, "pool"), failed, *wrong)
    found = held_out_accuracy(History.read(tables))
    assert found == HeldOut("new", accuracy=0.5, evaluated=0.9, examples=2)
    assert found.drop == pytest.approx(0.4)


def test_labels_are_those_of_the_newest_dataset(tables: Lake) -> None:
    table, (a,) = images(tables, "a")
    dataset(tables, example(a, "gym"))
    predictions(tables, [table, evaluation(tables)], answer(a, "gym"))
    first = held_out_accuracy(History.read(tables))
    tables.open(SFT).delete("true")
    dataset(tables, example(a, "pool"))
    second = held_out_accuracy(History.read(tables))
    assert first is not None
    assert second is not None
    assert (first.accuracy, second.accuracy) == (1.0, 0.0)


def test_the_model_is_held_to_its_own_evaluation(tables: Lake) -> None:
    table, (a,) = images(tables, "a")
    dataset(tables, example(a, "gym"))
    evaluation(tables, 0.8)
    evaluation(tables, 0.6)
    evaluation(tables, 0.2, rows_failed=7)  # answers that are missing count as wrong there
    other = evaluation(tables, 0.1, challenger="another", champion="new")
    predictions(tables, [table, other], answer(a, "gym"))
    found = held_out_accuracy(History.read(tables))
    assert found is not None
    assert found.evaluated == 0.6


def test_where_nothing_can_be_compared_there_is_no_figure(tables: Lake) -> None:
    assert held_out_accuracy(History.read(tables)) is None
    table, (a, b) = images(tables, "a", "b")
    made = predictions(tables, [table], answer(a, "gym"))
    assert held_out_accuracy(History.read(tables)) is None  # no dataset
    dataset(tables, example(a, "gym"))
    assert held_out_accuracy(History.read(tables)) is None  # no evaluation of the model
    evaluation(tables, measure="mean_token_accuracy")
    assert held_out_accuracy(History.read(tables)) is None  # judged by its captions
    evaluation(tables)
    assert held_out_accuracy(History.read(tables)) is not None
    predictions(tables, [table], task="caption")
    assert held_out_accuracy(History.read(tables)) is None
    assert held_out_accuracy(History.read(tables), made) is not None
    dataset(tables, example(b, "gym"))
    tables.open(SFT).delete("example_id = 'label:a'")
    dataset(tables)
    assert held_out_accuracy(History.read(tables), made) is None  # nothing held out has an answer


def test_predictions_that_are_gone_say_so(tables: Lake) -> None:
    table, (a, b) = images(tables, "a", "b")
    dataset(tables, example(a, "gym"))
    made = predictions(tables, [table, evaluation(tables)], answer(a, "gym"))
    predictions(tables, [table], answer(b, "gym"))
    tables.open(PREDICTIONS).cleanup_old_versions(timedelta(0))
    with pytest.raises(GoneError, match="is gone: it expired"):
        held_out_accuracy(History.read(tables), made)


def checked(tables: Lake, tmp_path: Path, name: str, *, fails: bool = False, **env: Any) -> tuple[bool, str]:
    (tmp_path / "source").mkdir(exist_ok=True)
    project = Project(tables.root, tmp_path / "source", tmp_path / "home", env)
    found = verdicts_of(project.check(f"batch_predictions:{name}", fails=fails))[f"batch_predictions:{name}"]
    return found.passed, str(found.description)


def test_coverage_is_of_the_pinned_images_by_this_model(tables: Lake, tmp_path: Path) -> None:
    write_images(tables, [image_row("bad", None, None)])
    table, (a, b, c) = images(tables, *"abc")
    write_images(tables, [image_row("later", None, RED)])
    said = [answer(a, "gym"), answer(b, None, error="OSError: x"), answer({**c, "sha256": "old"}, "gym")]
    predictions(tables, [table], *said, answer(c, "gym", "old"))
    passed, sentence = checked(tables, tmp_path, "coverage", fails=True)
    assert not passed
    assert sentence.startswith("1 of 3 usable images (33.3%) have an answer of this model")
    assert checked(tables, tmp_path, "coverage", MM_CHECKS__MIN_PREDICTION_COVERAGE="0.3")[0]


def test_labels_are_compared_with_the_first_predictions_after_the_promotion(tables: Lake, tmp_path: Path) -> None:
    table, first = images(tables, *(f"first-{n}" for n in range(40)))
    assert predictions(tables, [table], model="old").metadata["digest"] == "old"
    assert checked(tables, tmp_path, "drift") == (True, "not known: nothing was promoted yet")
    promoted = evaluation(tables)
    predictions(tables, [table, promoted], model="old")
    known = f"not known: the model that {promoted.data_version} promoted has predicted nothing since"
    assert checked(tables, tmp_path, "drift") == (True, known)
    half = [answer(row, ("gym", "pool")[n % 2]) for n, row in enumerate(first)]
    again = evaluation(tables, promoted=False, challenger="another")  # the promoted model goes on predicting
    reference = predictions(tables, [table, again], *half, predicted_labels={"gym": 20, "pool": 20})
    passed, sentence = checked(tables, tmp_path, "drift")
    assert passed
    assert f"against the last promoted run ({reference.data_version}): labels 0.000; " in sentence
    table, second = images(tables, *(f"second-{n}" for n in range(360)))
    now = {"gym": 20, "pool": 380}
    predictions(tables, [table, promoted], *(answer(row, "pool") for row in second), predicted_labels=now)
    passed, sentence = checked(tables, tmp_path, "drift")
    assert not passed
    assert f"({reference.data_version})" in sentence
    assert checked(tables, tmp_path, "drift", MM_CHECKS__MAX_DRIFT="9")[0]


def test_a_fallen_accuracy_is_a_warning_that_fails_no_run(tables: Lake, tmp_path: Path) -> None:
    table, rows = images(tables, *"abcd")
    dataset(tables, *(example(row, "gym") for row in rows))
    made = evaluation(tables, 1.0)
    predictions(
        tables,
        [table, made],
        *(answer(row, label) for row, label in zip(rows, ["gym", "gym", "gym", "pool"], strict=True)),
    )
    passed, sentence = checked(tables, tmp_path, "held_out_accuracy")
    assert not passed
    assert sentence.startswith("accuracy 0.750 on 4 held-out examples, 1.000 when the model was evaluated")
    assert checked(tables, tmp_path, "held_out_accuracy", MM_AUTOMATION__MAX_ACCURACY_DROP="0.25")[0]
