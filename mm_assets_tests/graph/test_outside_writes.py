"""A table that somebody outside has written becomes again what its assets make of their inputs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest

from mm_assets.demo.pictures import draw_area
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.registry import get
from mm_assets.lineage.records import Record
from mm_assets.settings import BaseModelSettings, CurateSettings
from mm_assets.stages.base.job import provide_base
from mm_assets.stages.curate.tables import SFT_SCHEMA
from mm_assets.stages.score.builtin.entropy import entropy
from mm_assets.stages.score.builtin.phash import phash
from mm_assets.stages.score.builtin.sharpness import sharpness
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.jobs import group, predicted, score, trained
from mm_assets_tests.kit.small_lake import LABEL, dataset, photos, store
from mm_assets_tests.kit.steps import ingest, run_step

Write = Callable[[lance.LanceDataset], object]
Rows = dict[str, dict[str, Any]]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(7)
    for label in ("gym", "pool"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(2):
            draw_area(label, rng).save(tmp_path / "photos" / label / f"{number}.png")
    return tmp_path / "photos"


def images(tables: Lake) -> Rows:
    ds = tables.open("images")
    found = ds.to_table(with_row_id=True).to_pylist()
    ids = [row.pop("_rowid") for row in found]
    data = [content for _, content in ds.read_blobs("image", ids=ids)]
    return {row["image_id"]: row | {"image": content} for row, content in zip(found, data, strict=True)}


def made(tables: Lake, pictures: Path) -> Record:
    record = ingest(tables, InProcess(), pictures)[1]
    score(tables, InProcess(), sharpness, entropy, phash)
    group(tables)
    return record


def insert(ds: lance.LanceDataset) -> None:
    row = {name: [None] for name in ds.schema.names} | {"image_id": ["gym/9.png"], "image": lance.blob_array([b"x"])}
    lance.write_dataset(pa.table(row, schema=ds.schema.remove_metadata()), ds, mode="append")


def swap_bytes(ds: lance.LanceDataset) -> None:
    rows = ds.to_table(filter="image_id = 'gym/0.png'")
    other = rows.set_column(
        rows.schema.get_field_index("image"), ds.schema.field("image"), lance.blob_array([b"other"])
    )
    ds.merge_insert("image_id").when_matched_update_all().execute(other)


DONE_TO_IMAGES: dict[str, Write] = {
    "rows deleted": lambda ds: ds.delete("label = 'gym'"),
    "a row inserted": insert,
    "a label changed": lambda ds: ds.update({"label": "'sauna'"}, where="image_id = 'pool/0.png'"),
    "bytes changed": swap_bytes,
    "a score changed": lambda ds: ds.update({"sharpness": "-1.0"}, where="image_id = 'pool/0.png'"),
    "groups changed": lambda ds: ds.update({"group_id": "'all'"}),
}


@pytest.mark.parametrize("what", DONE_TO_IMAGES)
def test_images_scores_and_groups_come_back(tables: Lake, pictures: Path, what: str) -> None:
    first = made(tables, pictures)
    before = images(tables)
    DONE_TO_IMAGES[what](tables.open("images"))
    assert images(tables) != before
    again = made(tables, pictures)
    assert again.ref.version > first.ref.version
    assert images(tables) == before
    version = tables.open("images").version
    made(tables, pictures)
    assert tables.open("images").version == version


def test_a_scorer_alone_computes_again_what_was_written_outside_and_nothing_else(tables: Lake, pictures: Path) -> None:
    made(tables, pictures)
    before = images(tables)
    tables.open("images").update({"sharpness": "-1.0"}, where="image_id = 'pool/0.png'")
    assert score(tables, InProcess(), sharpness)["scores/sharpness"].metadata["rows_computed"] == 1
    assert images(tables) == before


def test_the_listing_is_written_back(tables: Lake, pictures: Path) -> None:
    made(tables, pictures)
    before = tables.open("objects").to_table().sort_by("image_id")
    tables.open("objects").delete("label = 'gym'")
    tables.open("objects").update({"etag": "'other'"})
    made(tables, pictures)
    assert tables.open("objects").to_table().sort_by("image_id") == before


def insert_example(ds: lance.LanceDataset) -> None:
    row = {name: [None] for name in SFT_SCHEMA.names} | {"example_id": ["label:me"], "split": ["train"]}
    lance.write_dataset(pa.table(row, schema=pa.schema(list(ds.schema))), ds, mode="append")


DONE_TO_EXAMPLES: dict[str, Write] = {
    "rows deleted": lambda ds: ds.delete("split = 'train'"),
    "a row inserted": insert_example,
    "a label changed": lambda ds: ds.update({"label": "'sauna'"}),
    "the split changed": lambda ds: ds.update({"split": "'train'"}),
}


@pytest.mark.parametrize("what", DONE_TO_EXAMPLES)
def test_the_dataset_comes_back(tables: Lake, what: str) -> None:
    store(tables, photos())
    settings = CurateSettings(tasks=[LABEL])
    first = dataset(tables, settings)
    before = tables.open("sft").to_table().sort_by("example_id").to_pylist()
    DONE_TO_EXAMPLES[what](tables.open("sft"))
    again = dataset(tables, settings)
    assert again.ref.version > first.ref.version
    assert tables.open("sft").to_table().sort_by("example_id").to_pylist() == before
    assert dataset(tables, settings).ref == again.ref


def test_predictions_come_back_and_only_those_are_made_that_were_touched(tables: Lake) -> None:
    trained(tables, LABEL)
    predicted(tables)
    columns = ["id", "image_id", "label", "error"]
    before = tables.open("predictions").to_table(columns=columns).sort_by("id").to_pylist()
    tables.open("predictions").delete(f"id = '{before[0]['id']}'")
    tables.open("predictions").update({"label": "'sauna'"}, where=f"id = '{before[1]['id']}'")
    again = predicted(tables)
    assert again.metadata["rows_computed"] == 2
    assert tables.open("predictions").to_table(columns=columns).sort_by("id").to_pylist() == before
    assert predicted(tables).ref == again.ref


def test_a_base_model_that_the_registry_has_lost_is_registered_again(tables: Lake) -> None:
    def base() -> Record:
        made = run_step(tables, lambda step: provide_base(step, tables, BaseModelSettings(kind="built")), "base_model")
        return made["base_model"]

    digest = base().metadata["digest"]
    tables.open("models").delete(f"digest = '{digest}'")
    base()
    assert get(tables, digest).digest == digest
