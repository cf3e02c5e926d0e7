"""A refresh of the dataset: it makes what a whole pass makes, of the images that changed and of their groups alone."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm_assets.chat import without_gaps
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import local_folder
from mm_assets.engines.models.processors import TokenCounter
from mm_assets.history.history import History
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext
from mm_assets.settings import ChecksSettings, CurateSettings, Limit
from mm_assets.splits import TEST, TRAIN, VALIDATION
from mm_assets.stages.curate import job
from mm_assets.stages.curate.bounds import bounds_of
from mm_assets.stages.curate.examples import Wording
from mm_assets.stages.curate.selection import choose
from mm_assets.stages.curate.tables import SFT, SFT_SCHEMA
from mm_assets.stages.ingest.schema import IMAGES_SCHEMA
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.score.grouping import NEAR_DUPLICATES
from mm_assets.stages.score.tables import GROUP_FIELDS
from mm_assets_tests.kit.scored_images import SCORED, Row, change, image, put, score
from mm_assets_tests.kit.small_lake import CAPTION, LABEL, dataset, names

NAMING = LABEL.model_copy(update={"prompt": "which of {labels}?"})
LIMITS = {"sharpness": Limit(min=20), "luminance": Limit(max=200), "entropy": Limit(min=0)}
SETTINGS = CurateSettings(tasks=[LABEL, CAPTION], limits=LIMITS, max_tokens=200)
# A score now and then is beyond its bound, or no number.
VALUES = {
    "sharpness": np.array([10, *range(50, 70)]),
    "luminance": np.array([201, *range(100, 120)]),
    "clipped": np.array([np.nan, *np.linspace(0, 1, 20)]),
    "entropy": np.linspace(0, 8, 20),
}
LABELS = np.array(["pool", "gym", "sauna", "", None])


def rows(tables: Lake) -> dict[str, Row]:
    found = tables.open(SFT).to_table().to_pylist()
    assert len({row["example_id"] for row in found}) == len(found)
    return {row["example_id"]: row for row in found}


def versions(tables: Lake) -> dict[str, int]:
    """The commit that each row of the dataset was written by."""
    columns = ["example_id", "_row_last_updated_at_version"]
    return {row[columns[0]]: row[columns[1]] for row in tables.open(SFT).to_table(columns=columns).to_pylist()}


def expected(tables: Lake, settings: CurateSettings) -> tuple[dict[str, Row], dict[str, Any]]:
    """The whole dataset, and what it says of itself, in the plainest way."""
    newest = History.read(tables).newest
    images = tables.open_at(newest["image_table"].ref).scanner(columns=IMAGES_SCHEMA.names, with_row_id=True)
    found = {row["_rowid"]: row for row in images.to_table().drop_columns(["image"]).to_pylist()}
    for asset in (*(scorer.asset for scorer in SCORED), NEAR_DUPLICATES):
        fields = next((s.fields() for s in SCORED if s.asset == asset), GROUP_FIELDS)
        ds = tables.open_at(newest[asset].ref)
        scored = ds.to_table(columns=["image_id", "sha256", *(field.name for field in fields)]).to_pylist()
        known = {(row["image_id"], row["sha256"]): row for row in scored}
        for row in found.values():
            row |= {field.name: known.get((row["image_id"], row["sha256"]), {}).get(field.name) for field in fields}
    choices = choose([found[key] for key in sorted(found)], settings, bounds_of(settings, SCORED))
    labels = sorted({choice.row["label"] for choice in choices if choice.split and choice.task.task == "label"})
    base = newest["base_model"].metadata["digest"]
    wording = Wording(settings, labels, TokenCounter(local_folder(tables, base)))
    made = [wording.example(choice) for choice in choices]
    chosen = [row for row in made if not row["left_out"]]
    tasks = Counter(row["task"] for row in chosen)
    splits = Counter(row["split"] for row in chosen)
    said = {
        "rows": len(made),
        "examples": len(chosen),
        "splits": {name: splits[name] for name in ("train", "validation", "test")},
        "left_out": dict(sorted(Counter(row["left_out"].split(":")[0] for row in made if row["left_out"]).items())),
        "labels": labels,
        "tasks": [{**task.model_dump(), "examples": tasks[task.task]} for task in settings.tasks],
        "longest_tokens": max(row.get("num_tokens", 0) for row in made),
    }
    return {row["example_id"]: {name: row.get(name) for name in SFT_SCHEMA.names} for row in made}, said


def check(tables: Lake, settings: CurateSettings, made: Record) -> None:
    found, said = expected(tables, settings)
    held = rows(tables)
    for row in held.values():
        row["messages"] = row["messages"] and without_gaps(row["messages"])
    assert held == found
    assert {name: made.metadata[name] for name in said} == said


def wordings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the images that are chosen from, from now on."""
    seen: list[str] = []

    def note(rows: list[Row], *arguments: Any) -> Any:
        seen.extend(row["image_id"] for row in rows)
        return choose(rows, *arguments)

    monkeypatch.setattr(job, "choose", note)
    return seen


def made_of(record: Record) -> list[int]:
    return [record.metadata[f"rows_{what}"] for what in ("considered", "computed", "reused", "removed")]


@pytest.fixture
def lake(tables: Lake) -> Lake:
    """Ten images of two labels, two of them in one group."""
    put(tables, [image(f"i{n}", "pool" if n % 2 else "gym", f"picture {n}") for n in range(10)])
    score(tables, [f"i{n}" for n in range(10)])
    score(tables, ["i8", "i6"], group="g")
    return tables


def test_only_what_changed_and_its_group_is_made_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = wordings(monkeypatch)
    assert made_of(dataset(lake, SETTINGS)) == [20, 20, 0, 0]
    assert sorted(seen) == [f"i{n}" for n in range(10)]
    before, seen[:] = versions(lake), []
    put(lake, [image("new")], drop=("i1",))
    score(lake, ["new"])
    change(lake, "image_table", {"i3": {"caption": "another"}})
    change(lake, NEAR_DUPLICATES, {"i6": {"group_id": "i6", "first_group_id": "g"}})
    made = dataset(lake, SETTINGS)
    assert sorted(seen) == ["i3", "i6", "i8", "new"]
    assert made_of(made) == [20, 8, 12, 2]
    check(lake, SETTINGS, made)
    after = versions(lake)
    assert {key for key in after if before.get(key) != after[key]} == {
        f"{task}:{key}" for task in ("label", "caption") for key in ("new", "i3", "i6", "i8")
    }


def test_nothing_changed_is_nothing_done(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    made = dataset(lake, SETTINGS)
    seen, version = wordings(monkeypatch), lake.open(SFT).version
    score(lake, ["i2"])  # written again, and the same
    assert dataset(lake, SETTINGS).ref == made.ref
    assert (seen, lake.open(SFT).version) == ([], version)


@pytest.mark.parametrize(("task", "chosen", "written"), [(LABEL, 1, 1), (NAMING, 11, 10)])
def test_another_label_concerns_all_whose_words_name_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, task: Any, chosen: int, written: int
) -> None:
    settings = SETTINGS.model_copy(update={"tasks": [task]})
    dataset(lake, settings)
    seen = wordings(monkeypatch)
    put(lake, [image("new", "sauna")])
    score(lake, ["new"])
    made = dataset(lake, settings)
    assert len(set(seen)) == chosen
    check(lake, settings, made)
    assert made.metadata["rows_computed"] == written  # one is left out as before


def test_a_label_that_nobody_may_learn_is_not_named(tables: Lake) -> None:
    known = [*names(TRAIN, 2), *names(VALIDATION, 1), *names(TEST, 1)]
    named = [image(key, label) for key, label in zip(known, ["pool", "gym"] * 2, strict=True)]
    put(tables, [*named, image("c", "sauna", error="corrupt: it ends early", sha256=None), image("d", " ")])
    score(tables, [*known, "d"])
    settings = SETTINGS.model_copy(update={"tasks": [NAMING]})
    made = dataset(tables, settings)
    assert made.metadata["labels"] == ["gym", "pool"]
    check(tables, settings, made)


def test_without_the_old_versions_all_is_compared_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset(lake, SETTINGS)
    put(lake, [image("new")])
    score(lake, ["new"])
    images = lake.open(IMAGES)
    newest = History.read(lake).newest
    pins = {record.ref.version for record in newest.values() if record.ref.table == IMAGES}
    for name, tag in images.tags.list().items():
        if tag["version"] not in pins:
            images.tags.delete(name)
    images.cleanup_old_versions(timedelta(0), error_if_tagged_old_versions=False)
    seen = wordings(monkeypatch)
    made = dataset(lake, SETTINGS)
    assert (len(seen), made.metadata["rows_computed"]) == (11, 2)
    check(lake, SETTINGS, made)


def test_a_run_that_was_overtaken_makes_all_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset(lake, SETTINGS)
    put(lake, [image("new")])
    score(lake, ["new"])
    real = job.DatasetBuilder.refresh
    overtaken: list[Any] = []

    def first_another(making: Any) -> Any:
        made = real(making)
        if not overtaken:
            overtaken.append(made)
            put(lake, [image("newer")], drop=("new", "i1"))
            score(lake, ["newer"])
            dataset(lake, SETTINGS)
        return made

    monkeypatch.setattr(job.DatasetBuilder, "refresh", first_another)
    dataset(lake, SETTINGS)
    images = {key.partition(":")[2] for key in rows(lake)}
    assert images == {"new", *(f"i{n}" for n in range(10))}  # of what it had pinned


def test_what_another_run_left_is_not_built_on(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    first = dataset(lake, SETTINGS)
    put(lake, [image("new")])
    score(lake, ["new"])
    dataset(lake, SETTINGS)
    put(lake, [], drop=("new",))
    seen = wordings(monkeypatch)
    real = StepContext.last_record
    with monkeypatch.context() as patch:
        patch.setattr(
            StepContext, "last_record", lambda step, asset: first if asset == "sft_dataset" else real(step, asset)
        )
        made = dataset(lake, SETTINGS)
    assert len(seen) == 10
    check(lake, SETTINGS, made)


def test_nothing_left_to_learn_is_refused_and_nothing_is_written(lake: Lake) -> None:
    dataset(lake, SETTINGS)
    version = lake.open(SFT).version
    change(lake, "image_table", {f"i{n}": {"label": "pool"} for n in range(10)})
    with pytest.raises(RefusalError, match=r"one class only \(pool\) is left of 10 images"):
        dataset(lake, SETTINGS)
    assert lake.open(SFT).version == version


@pytest.mark.parametrize("seed", range(3))
def test_a_refresh_makes_what_a_whole_pass_makes(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "CHUNK_ROWS", 7)
    monkeypatch.setattr("mm_assets.stages.curate.table_diff.MOST_WAITING", 11)
    rng = np.random.default_rng(seed)
    tables = Lake(str(tmp_path / "lake"))
    settings = SETTINGS.model_copy(update={"tasks": [NAMING if seed == 1 else LABEL, CAPTION]})
    there: list[str] = []
    seen, considered, passes = wordings(monkeypatch), 0, 0

    def some(among: list[str], most: int) -> list[str]:
        count = min(len(among), int(rng.integers(0, most)))
        return sorted(rng.choice(among, count, replace=False).tolist()) if count else []

    def any_image(key: str) -> Row:
        if rng.random() < 0.1:
            return image(key, error="corrupt: it ends early", sha256=None)
        label = rng.choice(LABELS, p=[0.38, 0.38, 0.18, 0.03, 0.03])
        caption = rng.choice(np.array([f"a picture {key}", "</s>", "long " * 60, None]), p=[0.7, 0.1, 0.1, 0.1])
        return image(key, label, caption, content=rng.random(), width=int(rng.integers(50, 200)))

    for number in range(8):
        again, drop = some(there, 4), some(there, 4)
        new = [f"{number}-{place}" for place in range(80 if number == 0 else int(rng.integers(1, 5)))]
        put(tables, [any_image(key) for key in [*again, *new]], tuple(drop))
        there = sorted({*there, *new} - (set(drop) - set(again)))
        change(tables, "image_table", {key: {"label": "gym", "caption": f"word {number}"} for key in some(there, 3)})
        todo = sorted({*again, *new, *some(there, 3)}.intersection(there))
        for scorer in SCORED:
            cells = {
                key: {name: float(rng.choice(VALUES[name])) for name in scorer.columns}
                | {scorer.rev_column: "1", scorer.error_column: "E: x" if rng.random() < 0.05 else None}
                for key in todo
                if rng.random() < 0.95
            }
            change(tables, scorer.asset, cells)
            if rng.random() < 0.2:
                tables.open(IMAGES).optimize.compact_files()
        if number == 0:
            score(tables, ["0-0", "0-1", "0-2"])
        groups = {key: f"g{rng.integers(0, 90)}" for key in todo}
        change(
            tables,
            NEAR_DUPLICATES,
            {key: {"group_id": name, "first_group_id": f"{name}{rng.integers(2)}"} for key, name in groups.items()},
        )
        considered += len(there)
        try:
            made = dataset(tables, settings, checks=ChecksSettings(max_pre_flight_share=1))
        except RefusalError:
            continue
        passes += 1
        check(tables, settings, made)
        if rng.random() < 0.3:
            tables.open(SFT).optimize.compact_files()
    assert passes > 3
    assert seed == 1 or len(seen) < 0.7 * considered
