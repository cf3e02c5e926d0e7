"""Checks of the scores: coverage, failed cells and drift, at the versions that the records name."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mm_assets.engines.lake.tables import Lake
from mm_assets.history.history import History
from mm_assets.lineage.records import Record
from mm_assets.scoring import FunctionScorer
from mm_assets.settings import ScoreSettings
from mm_assets.stages.evaluate.tables import EVALUATIONS, EVALUATIONS_SCHEMA
from mm_assets.stages.score.builtin.entropy import entropy
from mm_assets.stages.score.builtin.phash import phash
from mm_assets.stages.score.checks import ordered_columns
from mm_assets.stages.score.registry import all_scorers
from mm_assets.stages.score.tables import GROUP_FIELDS
from mm_assets.stages.score.verdicts import error_budget, moved, scored
from mm_assets_tests.kit.lake_rows import image_row, plain, record, write, write_images
from mm_assets_tests.kit.project import Project, failure_of, verdicts_of

FIELDS = [*entropy.fields(), *phash.fields(), *GROUP_FIELDS]
RED = plain("red")


def test_every_image_must_have_been_looked_at() -> None:
    assert scored("scores/entropy", 40, 40, 1.0).passed
    found = scored("scores/entropy", 39, 40, 1.0)
    assert (found.passed, found.severity) == (False, "ERROR")
    assert found.sentence == (
        "39 of 40 usable images (97.5%) have a cell of scores/entropy as it is now; checks.min_score_coverage "
        "(MM_CHECKS__MIN_SCORE_COVERAGE) is 1: materialize scores/entropy"
    )
    assert scored("scores/entropy", 39, 40, 0.975).passed
    assert scored("scores/entropy", 0, 0, 1.0).passed


def test_failed_cells_are_held_to_the_budget_of_their_scorer() -> None:
    settings = ScoreSettings(error_budget=0.5, error_budgets={"phash": 0.1})
    assert error_budget("scores/entropy", 20, 40, settings.budget("entropy")).passed
    found = error_budget("scores/phash", 5, 40, settings.budget("phash"))
    assert (found.passed, found.severity) == (False, "ERROR")
    assert "score.error_budgets (MM_SCORE__ERROR_BUDGETS) is 0.1" in found.sentence
    assert error_budget("scores/entropy", 0, 0, settings.budget("entropy")).passed


def test_each_column_is_compared() -> None:
    rng = np.random.default_rng(0)
    then = pa.table({"luminance": rng.normal(100, 9, 900), "clipped": rng.random(900)})
    now = pa.table({"luminance": rng.normal(150, 9, 900), "clipped": rng.random(900)})
    found = moved(then, now, 0.25, "then")
    assert not found.passed
    assert "since; luminance moved, and" in found.sentence
    assert {"bins_luminance", "bins_clipped"} <= set(found.figures)
    assert moved(now, now, 0.25, "then").passed
    nothing = pa.table({"luminance": pa.nulls(9, pa.float32()), "clipped": pa.nulls(9, pa.float32())})
    assert moved(nothing, nothing, 0.25, "then").passed


def test_hashes_do_not_move() -> None:
    assert {name: ordered_columns(scorer) for name, scorer in all_scorers(ScoreSettings()).items()} == {
        "sharpness": ["sharpness"],
        "exposure": ["luminance", "clipped"],
        "entropy": ["entropy"],
        "phash": [],
    }
    kinds = {"place": pa.list_(pa.int32()), "people": pa.int16(), "name": pa.string(), "seen": pa.bool_()}
    assert ordered_columns(FunctionScorer("own", "1", kinds, lambda _: {}, "")) == ["people"]


def cell(image_id: str, value: float | None, **more: Any) -> dict[str, Any]:
    state = {"entropy": value, "entropy_rev": "1", "phash": 1, "phash_rev": "1"}
    return image_row(image_id, "gym", RED) | state | more


def scores(tables: Lake, *rows: dict[str, Any]) -> Record:
    """Images with their scores, and the records of both; the new scores'."""
    write_images(tables, rows, *FIELDS)
    return record(tables, "scores/entropy", [record(tables, "image_table")])


def project(tables: Lake, tmp_path: Path, **env: Any) -> Project:
    (tmp_path / "source").mkdir(exist_ok=True)
    return Project(tables.root, tmp_path / "source", tmp_path / "home", env)


def checked(tables: Lake, tmp_path: Path, name: str, *, fails: bool = False, **env: Any) -> tuple[bool, str]:
    found = verdicts_of(project(tables, tmp_path, **env).check(name, fails=fails))[name]
    return found.passed, str(found.description)


def test_null_and_failed_cells_are_looked_at_and_others_are_not(tables: Lake, tmp_path: Path) -> None:
    rejected = image_row("bad", "gym", None)
    failed = cell("c", None, entropy_error="ValueError: x")
    scores(tables, cell("a", 5.0), cell("b", None), failed, rejected)
    assert checked(tables, tmp_path, "scores/entropy:coverage") == (
        True,
        "3 of 3 usable images (100.0%) have a cell of scores/entropy as it is now; checks.min_score_coverage "
        "(MM_CHECKS__MIN_SCORE_COVERAGE) is 1",
    )
    passed, sentence = checked(tables, tmp_path, "scores/entropy:error_budget")
    assert passed
    assert sentence.startswith("1 of 3 cells (33.3%) are errors; ")
    scores(tables, cell("d", 5.0, entropy_rev="old"), cell("e", 5.0, entropy_rev=None))
    passed, sentence = checked(tables, tmp_path, "scores/entropy:coverage", fails=True)
    assert not passed
    assert sentence.startswith("3 of 5 usable images (60.0%)")
    assert checked(tables, tmp_path, "scores/entropy:coverage", MM_CHECKS__MIN_SCORE_COVERAGE="0.6")[0]


def test_an_error_fails_the_run_and_names_the_check(tables: Lake, tmp_path: Path) -> None:
    scores(tables, cell("a", None, entropy_error="ValueError: x"), cell("b", 5.0))
    result = project(tables, tmp_path, MM_SCORE__ERROR_BUDGET="0.4").check("scores/entropy:error_budget", fails=True)
    assert "1 blocking asset check failed with ERROR severity" in failure_of(result)
    assert "scores/entropy: error_budget" in failure_of(result)
    (found,) = verdicts_of(result).values()
    assert "score.error_budget (MM_SCORE__ERROR_BUDGET) is 0.4: look at the errors" in str(found.description)


def test_a_scorer_that_was_never_run_keeps_no_other_from_being_checked(tables: Lake, tmp_path: Path) -> None:
    write_images(tables, [cell("a", 5.0)], *FIELDS)
    record(tables, "scores/phash", [record(tables, "image_table")])
    names = ("scores/entropy:coverage", "scores/phash:coverage")
    result = project(tables, tmp_path).check(*names, fails=True)
    assert {name: item.passed for name, item in verdicts_of(result).items()} == {"scores/phash:coverage": True}
    assert f"scores/entropy is not in the lake {tables.root} yet: materialize scores/entropy" in failure_of(result)


def test_images_that_came_after_the_pinned_version_need_no_cell(tables: Lake, tmp_path: Path) -> None:
    write_images(tables, [cell("a", 5.0)], *FIELDS)
    images = record(tables, "image_table")
    write_images(tables, [cell("b", None, entropy_rev=None)], *FIELDS)
    record(tables, "scores/entropy", [images])
    assert checked(tables, tmp_path, "scores/entropy:coverage")[1].startswith("1 of 1 usable images")


def test_of_the_groups_only_those_of_the_distance_now_count(tables: Lake, tmp_path: Path) -> None:
    grouped = {"group_id": "a", "first_group_id": "a", "near_duplicates_rev": "1-2"}
    without = {"phash": None, "phash_error": "ValueError: x"}
    write_images(tables, [cell("a", 5.0, **grouped), cell("b", 5.0, **without)], *FIELDS)
    hashes = record(tables, "scores/phash", [record(tables, "image_table")])
    record(tables, "scores/near_duplicates", [hashes])
    name = "scores/near_duplicates:coverage"
    assert checked(tables, tmp_path, name)[1].startswith("1 of 1 usable images")
    assert not checked(tables, tmp_path, name, fails=True, MM_DUPLICATES__MAX_DISTANCE="3")[0]


def promote(tables: Lake, *made_from: Record) -> Record:
    write(tables, EVALUATIONS, EVALUATIONS_SCHEMA, [{"id": "1"}])
    return record(tables, "evaluation", made_from, promoted=True, challenger="new")


def many(tables: Lake, prefix: str, mean: float, count: int = 300) -> Record:
    values = np.random.default_rng(0).normal(mean, 0.5, count)
    return scores(tables, *(cell(f"{prefix}-{n}", float(value)) for n, value in enumerate(values)))


def test_values_are_compared_with_those_of_the_last_promoted_run(tables: Lake, tmp_path: Path) -> None:
    name = "scores/entropy:drift"
    reference = many(tables, "first", 5.0)
    assert checked(tables, tmp_path, name) == (True, "not known: nothing was promoted yet")
    promote(tables, reference)
    passed, sentence = checked(tables, tmp_path, name)
    assert passed
    assert f"against the last promoted run ({reference.data_version}): entropy 0.000; " in sentence
    many(tables, "more", 9.0)
    assert not checked(tables, tmp_path, name)[0]
    assert checked(tables, tmp_path, name, MM_CHECKS__MAX_DRIFT="99")[0]


def test_a_reference_that_is_gone_is_not_known(tables: Lake, tmp_path: Path) -> None:
    reference = many(tables, "first", 5.0, 20)
    promote(tables, reference)
    many(tables, "more", 9.0, 20)
    tables.open("images").cleanup_old_versions(timedelta(0))
    passed, sentence = checked(tables, tmp_path, "scores/entropy:drift")
    assert passed
    assert sentence.startswith(f"not known: {reference.data_version} is gone: it expired")


def test_a_run_that_did_not_read_the_scorer_is_no_reference(tables: Lake, tmp_path: Path) -> None:
    many(tables, "first", 5.0, 20)
    promoted = promote(tables)
    assert checked(tables, tmp_path, "scores/entropy:drift") == (
        True,
        f"not known: the last promoted run ({promoted.data_version}) did not read scores/entropy",
    )


def test_values_of_another_revision_are_no_reference(tables: Lake, tmp_path: Path) -> None:
    other = replace(many(tables, "first", 5.0, 20), id="other", code_version="0")
    History.read(tables).append(other)
    promote(tables, other)
    many(tables, "more", 5.0, 20)
    passed, sentence = checked(tables, tmp_path, "scores/entropy:drift")
    assert passed
    assert sentence == "not known: scores/entropy was of revision 0 in the last promoted run"
