"""A dataset that was found unchanged on newer images: two checkpoints, one of each time."""

from dataclasses import dataclass

import pyarrow as pa

from mm_assets.engines.lake.cells import add_columns
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.records import Record
from mm_assets.settings import CurateSettings
from mm_assets_tests.kit.lake_rows import record
from mm_assets_tests.kit.small_lake import LABEL, TRAINING, checkpoint, dataset, photos, store
from mm_assets_tests.kit.two_rounds import training_of


@dataclass(frozen=True)
class Reused:
    """The image table, the dataset and the checkpoint of each time; both datasets are at one version."""

    tables: Lake
    images: tuple[Record, Record]
    datasets: tuple[Record, Record]
    checkpoints: tuple[Record, Record]


def reused_dataset(tables: Lake) -> Reused:
    """Train, give the image table a version in which no example is another, and train on that too."""
    settings = CurateSettings(tasks=[LABEL])
    store(tables, photos())
    before = record(tables, "image_table")
    made = dataset(tables, settings)
    first = checkpoint(tables, training=training_of(1))
    commit(tables, "images", lambda ds: add_columns(ds, [pa.field("new", pa.float32())]), {})
    after = record(tables, "image_table")
    again = dataset(tables, settings)
    second = checkpoint(tables, TRAINING.model_copy(update={"epochs": 2}), training=training_of(2))
    assert (again.reused, again.ref, after.ref == before.ref) == (True, made.ref, False)
    return Reused(tables, (before, after), (made, again), (first, second))
