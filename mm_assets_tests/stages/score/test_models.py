"""Scorers that are models, on Ray: opened once in a worker, called with batches, any Arrow type as result."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.lineage.budget import BudgetError
from mm_assets.lineage.errors import RefusalError
from mm_assets.operations.trace.command import run
from mm_assets.scoring import READABLE, FunctionScorer, Scorer, Values
from mm_assets.settings import Resources, ScoreSettings
from mm_assets.stages.ingest.schema import IMAGES_SCHEMA
from mm_assets.stages.score.builtin.sharpness import sharpness
from mm_assets.stages.score.checks import ordered_columns
from mm_assets.stages.score.plan import needs
from mm_assets.stages.score.previews import previews
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.jobs import cells, score
from mm_assets_tests.kit.lake_rows import materialized
from mm_assets_tests.kit.steps import ingest, nothing_new
from mm_assets_tests.stages.score.models import SIZE, Embedding, said


@pytest.mark.ray
def test_a_model_is_opened_once_in_each_worker_and_called_with_batches(
    tables: Lake, cluster: Cluster, few_pictures: Path, tmp_path: Path
) -> None:
    ingest(tables, cluster, few_pictures)
    log = tmp_path / "log"
    scorer = Embedding(log)
    record = score(tables, cluster, scorer, sharpness)["scores/embedding"]
    assert (record.metadata["rows_computed"], record.metadata["rows_failed"]) == (23, 0)
    opened = Counter(words[1] for words in said(log) if words[0] == "open")
    assert set(opened.values()) == {1}
    assert {words[2] for words in said(log) if words[0] == "open"} == {"cpu"}
    assert sorted(int(words[1]) for words in said(log) if words[0] == "batch") == [7, 8, 8]

    scorer.open("cpu")
    stored = cells(tables, "embedding", "tone", "boxes", "size", "embedding_rev", "embedding_error", "sharpness")
    for image_id, (vector, tone, boxes, size, rev, error, other) in stored.items():
        if image_id in ("gym/7.png", "notes.txt"):
            assert (vector, tone, boxes, size, rev, error) == (None,) * 6
            continue
        label = image_id.split("/")[0]
        (expected,) = scorer([Image.open(few_pictures / image_id).convert("RGB")], [label], [96])
        assert vector == pytest.approx(expected["embedding"].tolist(), abs=1e-6)
        assert len(vector) == SIZE
        assert tone == f"{label}, 96 across"
        assert boxes == (None if label == "gym" else [{"box": [0.0, 0.0, 96.0, 96.0], "name": label}])
        assert (size, rev, error) == ({"width": 96, "height": 96}, "1", None)
        assert other is not None

    lines = len(said(log))
    assert nothing_new(score(tables, cluster, scorer)["scores/embedding"], record)
    assert len(said(log)) == lines  # no worker was started for it
    assert ordered_columns(scorer) == []
    drawn = previews(materialized(tables, record))
    assert "23 cells" in drawn["preview_embedding"]
    assert re.search(r"beach/0\.png.*beach, 96 across", drawn["preview_tone"])
    assert drawn["preview_boxes"].count("png") == 8


@pytest.mark.ray
def test_a_model_that_cannot_be_opened_ends_the_step_and_leaves_no_errors(
    tables: Lake, cluster: Cluster, few_pictures: Path
) -> None:
    ingest(tables, cluster, few_pictures)
    with pytest.raises(RefusalError) as refused:
        score(tables, cluster, _Unopened())
    cause = getattr(refused.value, "cause", refused.value)
    assert str(cause) == 'scores/unopened: open("cpu") failed: FileNotFoundError: no weights here'
    assert set(cells(tables, "v", "unopened_rev", "unopened_error").values()) == {(None, None, None)}


class _Unopened(Scorer):
    name = "unopened"
    revision = "1"
    columns = {"v": pa.float32()}  # noqa: RUF012

    def open(self, device: str) -> None:
        raise FileNotFoundError("no weights here")

    def __call__(self, images: Sequence[Image.Image]) -> list[Values]:
        raise AssertionError("it was not opened")


class Greys(Scorer):
    """The grey of plain images, which fails on some of them; keeps the greys of each call."""

    revision = "1"
    columns = {"greys": pa.int32()}  # noqa: RUF012
    batch_size = 16

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad
        self.calls: list[list[int]] = []

    def __call__(self, images: Sequence[Image.Image], **beside: list[Any]) -> list[Values]:
        greys = [int(image.getpixel((0, 0))[0]) for image in images]  # type: ignore[index]
        self.calls.append(greys)
        if self.bad & set(greys):
            raise ZeroDivisionError(f"bad among {len(greys)}")
        return [{"greys": grey} for grey in greys]


def plain(folder: Path, count: int, size: tuple[int, int] = (8, 8)) -> Path:
    """Images of the greys 0, 1, 2 ..."""
    for grey in range(count):
        (folder / "a").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (grey,) * 3).save(folder / "a" / f"{grey:03}.png")
    return folder


def test_one_bad_image_costs_its_own_cell(tables: Lake, tmp_path: Path) -> None:
    here = InProcess()
    ingest(tables, here, plain(tmp_path / "p", 40))
    scorer = Greys({20})
    record = score(tables, here, scorer)["scores/greys"]
    assert record.metadata["rows_failed"] == 1
    stored = cells(tables, "greys", "greys_rev", "greys_error")
    assert stored.pop("a/020.png") == (None, "1", "ZeroDivisionError: bad among 1")
    assert [value for value, _, _ in stored.values()] == [grey for grey in range(40) if grey != 20]
    assert [len(call) for call in scorer.calls] == [16, 16, 8, 4, 4, 2, 1, 1, 2, 8, 8]


def test_a_model_that_fails_on_everything_ends_the_step(tables: Lake, tmp_path: Path) -> None:
    here = InProcess()
    ingest(tables, here, plain(tmp_path / "p", 40))
    with pytest.raises(RefusalError, match=r"^scores/greys: 16 images failed one after the other, .*ZeroDivisionError"):
        score(tables, here, Greys(set(range(40))))
    assert set(cells(tables, "greys_rev", "greys_error").values()) == {(None, None)}


def test_a_batch_holds_few_pixels_where_images_are_large(
    tables: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mm_assets.stages.score.worker.WINDOW_PIXELS", 3 * 64)
    here = InProcess()
    ingest(tables, here, plain(tmp_path / "p", 7))
    scorer = Greys(set())
    score(tables, here, scorer)
    assert [len(call) for call in scorer.calls] == [3, 3, 1]


def test_scorers_share_decoded_images_each_with_batches_of_its_own(tables: Lake, tmp_path: Path) -> None:
    here = InProcess()
    ingest(tables, here, plain(tmp_path / "p", 40))
    large, small = Greys(set()), Greys(set())
    record = score(tables, here, large, _Renamed(small, 5))
    assert [len(call) for call in large.calls] == [16, 16, 8]
    assert [len(call) for call in small.calls] == [5, 5, 5, 1, 5, 5, 5, 1, 5, 3]
    assert record["scores/small"].metadata["rows_failed"] == 0


class _Renamed(Scorer):
    """Another scorer under the name `small`."""

    name = "small"
    revision = "1"
    columns = {"small": pa.int32()}  # noqa: RUF012

    def __init__(self, other: Greys, batch_size: int) -> None:
        self.other, self.batch_size = other, batch_size

    def __call__(self, images: Sequence[Image.Image]) -> list[Values]:
        return [{"small": values["greys"]} for values in self.other(images)]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([{"greys": 1}] * 2, "ValueError: returned values of 2 images, not of 1"),
        ([{"grey": 1}], "KeyError: \"returned ['grey'], not ['greys']\""),
        ([None], "TypeError: 'NoneType' object is not iterable"),
        ([{"greys": 0.5}], "ValueError: 0.5 is no int32"),
    ],
)
def test_what_does_not_fit_is_the_cells_error(tables: Lake, tmp_path: Path, values: Any, error: str) -> None:
    here = InProcess()
    ingest(tables, here, plain(tmp_path / "p", 2))

    class Odd(Greys):
        name = "greys"
        batch_size = 1

        def __call__(self, images: Sequence[Image.Image], **beside: list[Any]) -> list[Values]:
            return values if images[0].getpixel((0, 0)) == (1, 1, 1) else super().__call__(images)

    score(tables, here, Odd(set()))
    assert cells(tables, "greys", "greys_error") == {"a/000.png": (0, None), "a/001.png": (None, error)}


def test_resources_are_the_scorers_own_where_the_profile_says_nothing() -> None:
    settings = ScoreSettings(resources={"sharpness": {"cpus": 3}})
    assert needs(Embedding(Path("log")), settings) == Embedding.resources
    assert needs(sharpness, settings).cpus == 3


def listed(folder: Path, labels: dict[str, str]) -> Path:
    """A manifest of plain images with labels."""
    manifest = folder / "list.csv"
    lines = [f"a/{number:03}.png,{label}" for number, label in enumerate(labels.values())]
    manifest.write_text("\n".join(["uri,label", *lines, ""]))
    return manifest


class Named(Greys):
    """The label and the grey: reads a column beside the image."""

    columns = {"named": pa.string()}  # noqa: RUF012
    reads = ("label",)

    def __call__(self, images: Sequence[Image.Image], **beside: list[Any]) -> list[Values]:
        found = super().__call__(images)
        pairs = zip(beside["label"], found, strict=True)
        return [{"named": f"{label} {values['greys']}"} for label, values in pairs]


def test_what_was_read_beside_the_image_is_an_input_of_the_cell(tables: Lake, tmp_path: Path) -> None:
    here, folder = InProcess(), plain(tmp_path / "p", 6)
    labels = {str(number): "pool" for number in range(6)}
    ingest(tables, here, listed(folder, labels))
    scorer, other = Named(set()), Greys(set())
    first = score(tables, here, scorer, other)
    assert cells(tables, "named")["a/002.png"] == ("pool 2",)
    assert nothing_new(score(tables, here, scorer, other)["scores/named"], first["scores/named"])

    ingest(tables, here, listed(folder, labels | {"2": "gym", "4": "gym"}))
    scorer.calls.clear()
    other.calls.clear()
    again = score(tables, here, scorer, other)
    assert (scorer.calls, other.calls) == ([[2, 4]], [])
    assert again["scores/named"].metadata["rows_computed"] == 2
    assert again["scores/greys"].metadata["rows_computed"] == 0
    assert [named for (named,) in cells(tables, "named").values()] == [
        "pool 0",
        "pool 1",
        "gym 2",
        "pool 3",
        "gym 4",
        "pool 5",
    ]
    assert nothing_new(score(tables, here, scorer)["scores/named"], again["scores/named"])


def test_a_label_that_changed_and_came_back_while_a_step_was_cut_off_is_noticed(tables: Lake, tmp_path: Path) -> None:
    here, folder = InProcess(), plain(tmp_path / "p", 3)
    labels = {str(number): "pool" for number in range(3)}
    ingest(tables, here, listed(folder, labels))
    score(tables, here, Named(set()))
    ingest(tables, here, listed(folder, labels | {"1": "gym"}))
    with pytest.raises(BudgetError):  # the cell is written, the step is not recorded
        score(tables, here, Named({1}), error_budget=0)
    ingest(tables, here, listed(folder, labels))
    record = score(tables, here, Named(set()))["scores/named"]
    assert record.metadata["rows_computed"] == 1
    assert cells(tables, "named", "named_error")["a/001.png"] == ("pool 1", None)


def test_a_scorer_may_read_what_ingest_writes() -> None:
    assert set(READABLE) < set(IMAGES_SCHEMA.names)


def test_values_of_any_type_are_traced(tables: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = InProcess()
    ingest(tables, here, plain(tmp_path / "p", 2))
    values = {"vector": [0.25] * 300, "raw": b"\x00", "seen": datetime(2026, 5, 4, 3, 2, 1), "named": {"a": [1.5]}}
    types = [pa.list_(pa.float32(), 300), pa.binary(), pa.timestamp("us"), pa.struct([("a", pa.list_(pa.float32()))])]
    columns = dict(zip(values, types, strict=True))
    score(tables, here, FunctionScorer("odd", "1", columns, lambda _: values))
    capsys.readouterr()  # what the steps said
    assert run(tables, "a/001.png", as_json=True)() == 0
    (scored,) = [node for node in nodes(json.loads(capsys.readouterr().out)) if node.get("id") == "scores/odd"]
    expected = {**values, "raw": r"b'\x00'", "seen": "2026-05-04T03:02:01"}
    assert scored["said"]["values"] == expected
    assert run(tables, "a/001.png", as_json=False)() == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "scores/odd" in line)
    assert "vector [0.25, 0.25" in line


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """All mappings in a JSON value."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(item)


class _Device(Greys):
    columns = {"device": pa.string()}  # noqa: RUF012

    def open(self, device: str) -> None:
        self.device = device

    def __call__(self, images: Sequence[Image.Image], **beside: list[Any]) -> list[Values]:
        return [{"device": self.device}] * len(images)


@pytest.mark.parametrize(
    ("own", "profile", "device"),
    [({}, {}, "cpu"), ({"gpus": 0.5}, {}, "cuda"), ({"gpus": 1}, {"cpus": 2}, "cpu"), ({}, {"gpus": 1}, "cuda")],
)
def test_a_model_is_told_where_to_run(
    tables: Lake, tmp_path: Path, own: dict[str, Any], profile: dict[str, Any], device: str
) -> None:
    here, scorer = InProcess(), _Device(set())
    scorer.name, scorer.resources = "device", Resources(**own)
    ingest(tables, here, plain(tmp_path / "p", 1))
    score(tables, here, scorer, resources={"device": profile} if profile else {})
    assert cells(tables, "device") == {"a/000.png": (device,)}
