"""Scoring: cells in place, only where they are missing, errors kept in the cell."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from mm_assets.engines.lake.commits import commits_after
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.history.heal import heal
from mm_assets.history.history import History
from mm_assets.lineage.budget import BudgetError
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.properties import BATCH
from mm_assets.scoring import FunctionScorer, Scorer, Values
from mm_assets.stages.score.builtin.entropy import entropy
from mm_assets.stages.score.builtin.sharpness import sharpness
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.jobs import cells, score
from mm_assets_tests.kit.steps import ingest, nothing_new


def revised(scorer: FunctionScorer, function: Any = None) -> Scorer:
    return FunctionScorer(scorer.name, "next", scorer.columns, function or scorer.function, "")


def test_scores_equal_the_plain_functions(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    ingest(tables, cluster, few_pictures)
    records = score(tables, cluster, sharpness, entropy, batch_rows=7)
    assert records["scores/sharpness"].ref == records["scores/entropy"].ref
    for image_id, (value, rev, error) in cells(tables, "sharpness", "sharpness_rev", "sharpness_error").items():
        if image_id in ("gym/7.png", "notes.txt"):
            assert (value, rev, error) == (None, None, None)  # nothing to compute on
        else:
            expected = sharpness.function(Image.open(few_pictures / image_id).convert("RGB"))["sharpness"]
            assert (value, rev, error) == (pytest.approx(expected, rel=1e-6), "1", None)


def test_a_second_time_nothing_is_computed(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    ingest(tables, here, few_pictures)
    first = score(tables, here, sharpness)
    again = score(tables, here, sharpness)
    assert nothing_new(again["scores/sharpness"], first["scores/sharpness"])


def test_new_and_changed_images_alone_are_computed(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    ingest(tables, here, few_pictures)
    score(tables, here, sharpness)
    before = cells(tables, "sharpness")
    Image.effect_noise((64, 64), 80).convert("RGB").save(few_pictures / "pool" / "1.png")
    Image.effect_noise((64, 64), 40).convert("RGB").save(few_pictures / "pool" / "new.png")
    ingest(tables, here, few_pictures)
    record = score(tables, here, sharpness)["scores/sharpness"]
    assert record.metadata["rows_computed"] == 2
    after = cells(tables, "sharpness")
    assert {key for key in after if after[key] != before.get(key)} == {"pool/1.png", "pool/new.png"}


def test_a_revision_recomputes_its_own_column_and_nothing_else(
    tables: Lake, here: InProcess, few_pictures: Path
) -> None:
    ingest(tables, here, few_pictures)
    score(tables, here, sharpness, entropy)
    before = cells(tables, "entropy", "entropy_rev", "sha256")

    def doubled(image: Image.Image) -> Values:
        return {"sharpness": 2.0}

    records = score(tables, here, revised(sharpness, doubled), entropy)
    assert records["scores/sharpness"].metadata["rows_computed"] == 23
    assert records["scores/entropy"].metadata["rows_computed"] == 0
    assert records["scores/entropy"].ref.version < records["scores/sharpness"].ref.version
    assert cells(tables, "entropy", "entropy_rev", "sha256") == before
    assert set(cells(tables, "sharpness").values()) == {(2.0,), (None,)}


def test_a_failing_cell_keeps_its_error_and_the_others_go_on(
    tables: Lake, cluster: Cluster, few_pictures: Path
) -> None:
    ingest(tables, cluster, few_pictures)

    def fails_on_odd(image: Image.Image) -> Values:
        if image.convert("L").getpixel((48, 90)) % 2:  # type: ignore[operator]
            raise ZeroDivisionError("odd")
        return {"x": 1.0}

    scorer = FunctionScorer("x", "1", {"x": pa.float32()}, fails_on_odd, "")
    wrong = FunctionScorer("wrong", "1", {"a": pa.float32()}, lambda image: {"b": 1.0}, "")
    records = score(tables, cluster, scorer, wrong, sharpness)
    found = set(cells(tables, "x", "x_rev", "x_error").values())
    assert found == {(1.0, "1", None), (None, "1", "ZeroDivisionError: odd"), (None, None, None)}
    assert {item for item in cells(tables, "wrong_error").values() if item[0]} == {
        ("KeyError: \"returned ['b'], not ['a']\"",)
    }
    assert records["scores/wrong"].metadata["rows_failed"] == 23
    assert records["scores/sharpness"].metadata["rows_failed"] == 0


def shrunk(image: Image.Image) -> Values:
    image.thumbnail((2, 2))
    return {"entropy": 0.0}


def test_a_scorer_that_changes_its_image_changes_no_other_score(
    tables: Lake, here: InProcess, few_pictures: Path
) -> None:
    ingest(tables, here, few_pictures)
    score(tables, here, revised(entropy, shrunk), sharpness)
    together = cells(tables, "sharpness")
    score(tables, here, revised(sharpness))
    assert cells(tables, "sharpness") == together


def test_a_value_of_the_wrong_type_is_its_cells_error(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    ingest(tables, here, few_pictures)
    score(tables, here, revised(sharpness, lambda image: {"sharpness": "sharp"}), entropy)
    for value, error, other in cells(tables, "sharpness", "sharpness_error", "entropy").values():
        assert value is None
        assert (error is None) == (other is None)
        assert error is None or error.startswith("Arrow")


def test_a_later_revision_may_have_another_column(tables: Lake, here: InProcess, few_pictures: Path) -> None:
    ingest(tables, here, few_pictures)
    score(tables, here, sharpness)
    wider = FunctionScorer("sharpness", "2", {**sharpness.columns, "area": pa.int32()}, with_area, "")
    score(tables, here, wider)
    assert {area for (area,) in cells(tables, "area").values()} == {None, 96 * 96}
    other = FunctionScorer("sharpness", "3", {"sharpness": pa.string()}, sharpness.function, "")
    with pytest.raises(RefusalError, match=r"column sharpness of images\.lance is float, the scorer gives string"):
        score(tables, here, other)


def with_area(image: Image.Image) -> Values:
    return {**sharpness.function(image), "area": image.width * image.height}


def failing(bad: set[int]) -> FunctionScorer:
    """A scorer that cannot bear images whose number is among the bad ones; null is a value."""

    def score_of(image: Image.Image) -> Values:
        number = int(image.getpixel((0, 0))[0])  # type: ignore[index]
        if number in bad:
            raise ZeroDivisionError(f"number {number}")
        return {"x": None if number == 0 else float(number)}

    return FunctionScorer("x", "1", {"x": pa.float32()}, score_of, "")


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """Ten plain images of the greys 0 to 9."""
    (tmp_path / "numbered").mkdir()
    for number in range(10):
        Image.new("RGB", (8, 8), (number, number, number)).save(tmp_path / "numbered" / f"{number}.png")
    return tmp_path / "numbered"


def test_a_failed_cell_is_computed_again_only_when_asked(tables: Lake, here: InProcess, numbered: Path) -> None:
    calls: list[int] = []

    def counting(bad: set[int]) -> FunctionScorer:
        scorer = failing(bad)

        def score_of(image: Image.Image) -> Values:
            calls.append(int(image.getpixel((0, 0))[0]))  # type: ignore[index]
            return scorer.function(image)

        return FunctionScorer("x", "1", scorer.columns, score_of, "")

    ingest(tables, here, numbered)
    first = score(tables, here, counting({3, 4}))["scores/x"]
    assert (first.metadata["rows_computed"], first.metadata["rows_failed"]) == (10, 2)
    assert cells(tables, "x", "x_rev", "x_error")["0.png"] == (None, "1", None)  # computed, and there is none
    assert cells(tables, "x", "x_rev", "x_error")["3.png"] == (None, "1", "ZeroDivisionError: number 3")
    calls.clear()
    assert nothing_new(score(tables, here, counting(set()))["scores/x"], first)
    assert calls == []
    again = score(tables, here, counting({4}), retry_errors=True)["scores/x"]
    assert sorted(calls) == [3, 4]
    counts = {name: again.metadata[name] for name in ("rows", "rows_computed", "rows_reused", "rows_failed")}
    assert counts == {"rows": 10, "rows_computed": 2, "rows_reused": 8, "rows_failed": 1}
    assert cells(tables, "x", "x_error")["3.png"] == (3.0, None)


def test_a_scorer_beyond_its_budget_fails_alone_and_keeps_its_cells(
    tables: Lake, here: InProcess, numbered: Path
) -> None:
    ingest(tables, here, numbered)
    sentence = r"scores/x: 2 of 10 rows failed \(20.0%\), more than score.error_budgets \(0.1\) allows"
    for _ in range(2):
        with pytest.raises(BudgetError, match=sentence) as over:
            score(tables, here, failing({3, 4}), sharpness, error_budget=0, error_budgets={"x": 0.1})
        assert list(over.value.results) == ["scores/sharpness"]
    assert sum(value is not None for (value,) in cells(tables, "x").values()) == 7
    assert heal(History.read(tables), "scores/x").record is None
    assert heal(History.read(tables), "scores/sharpness").record is not None
    record = score(tables, here, failing({3, 4}), error_budgets={"x": 0.2})["scores/x"]
    assert record.metadata["rows_failed"] == 2


def test_each_batch_of_rows_bytes_or_seconds_is_a_commit(tables: Lake, here: InProcess, numbered: Path) -> None:
    ingest(tables, here, numbered)
    before = tables.open("images").version
    score(tables, here, failing(set()), batch_rows=4)
    batches = [found[BATCH] for _, found in commits_after(tables.open("images"), before)]
    assert batches == ["0", "1", "2", "3"]  # 0: the columns
    version = tables.open("images").version
    score(tables, here, revised(failing(set())), batch_bytes=1)
    assert tables.open("images").version == version + 10
