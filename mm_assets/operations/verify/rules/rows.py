"""Rows that refer to images: examples and predictions, each at the images that were pinned when it was made."""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.catalog import BATCH_PREDICTIONS, IMAGE_TABLE, SFT_DATASET
from mm_assets.engines.models.registry import TABLE as MODELS
from mm_assets.lineage.records import Record
from mm_assets.operations.verify.history import inputs_in
from mm_assets.operations.verify.lake import LakeSnapshot
from mm_assets.operations.verify.report import Report
from mm_assets.operations.verify.rules.models import dropped_models
from mm_assets.stages.curate.tables import SFT
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.predict.tables import PREDICTIONS, prediction_key

# What the key of a prediction is made of.
PARTS = ["image_id", "sha256", "model_digest", "prompt_digest"]
# Predictions that are Python objects at once.
CHUNK_ROWS = 100_000


class Images:
    """Ids and digests of the images at one version after another; the last one is kept in memory.

    A version is a data version: a table that was dropped and made again has the same numbers.
    """

    def __init__(self, lake: LakeSnapshot) -> None:
        self._lake = lake
        self._version, self._rows = 0, pa.table({})

    def readable(self, pinned: str) -> int | None:
        """The number of a version, if it is still there."""
        version = self._lake.version_here(pinned)
        return version if version in self._lake.commits.get(IMAGES, {}) else None

    def has(self, pinned: str, ids: pa.ChunkedArray, digests: pa.ChunkedArray) -> np.ndarray | None:
        """Which (id, digest) are rows of a version, shape (n,); None where the version cannot be read any more."""
        version = self.readable(pinned)
        if version is None:
            return None
        if version != self._version:
            ds = self._lake.tables.open(IMAGES, version)
            self._version, self._rows = version, ds.to_table(columns=["image_id", "sha256"])
        places = pc.index_in(ids, self._rows["image_id"])
        digests_there = self._rows["sha256"].take(places)
        same = pc.or_(
            pc.fill_null(pc.equal(digests_there, digests), False),
            pc.and_(pc.is_null(digests_there), pc.is_null(digests)),
        )
        return pc.and_(same, pc.is_valid(places)).to_numpy()


def check_examples(lake: LakeSnapshot, report: Report) -> None:
    """Checks every readable dataset: its images are at the pinned version, with the recorded digest."""
    images = Images(lake)
    for record in lake.must_be_readable.values():
        if record.asset == SFT_DATASET.key and record.ref.version in lake.commits[SFT]:
            with report.reading(record.data_version):
                _check_dataset(lake, record, images, report)


def _check_dataset(lake: LakeSnapshot, record: Record, images: Images, report: Report) -> None:
    rows = lake.tables.open_at(record.ref).to_table(columns=["example_id", "images"]).combine_chunks()
    empty = pc.equal(pc.fill_null(pc.list_value_length(rows["images"]), 0), 0)
    keys = rows["example_id"].filter(empty).to_pylist()
    report.disagree_rows("example", record.data_version, "names no image", keys)
    pinned = record.read.get(IMAGE_TABLE.key, "")
    images_named = pc.list_flatten(rows["images"])
    has = images.has(pinned, pc.struct_field(images_named, "image_id"), pc.struct_field(images_named, "sha256"))
    if has is None:
        reason = "version expired" if lake.version_here(pinned) is not None else "table was dropped"
        report.expected_leftovers[f"datasets whose images' {reason}"] += 1
        return
    report.looked_at["examples"] += rows.num_rows
    parents = pc.list_parent_indices(rows["images"]).filter(pa.array(~has))
    keys = rows["example_id"].take(parents).to_pylist()
    report.disagree_rows("example", record.data_version, f"names bytes that {pinned} does not have", keys)


def check_predictions(lake: LakeSnapshot, report: Report) -> None:
    """Every prediction's key is the digest of its parts, its model is registered, its bytes were those of an image."""
    if PREDICTIONS in lake.heads:
        with report.reading(PREDICTIONS):
            _check_predictions(lake, report)


def _check_predictions(lake: LakeSnapshot, report: Report) -> None:
    rows = lake.heads[PREDICTIONS].to_table(columns=["id", *PARTS, "_row_created_at_version"])
    report.looked_at["predictions"] += rows.num_rows
    wrong = [key for batch in rows.to_batches(CHUNK_ROWS) for key in _wrong_keys(batch)]
    sentence = "its key is not the digest of its image, bytes, model and prompt"
    report.disagree_rows("prediction", PREDICTIONS, sentence, wrong)
    _check_models(lake, rows, report)
    _check_bytes(lake, rows, report)


def _wrong_keys(rows: pa.RecordBatch) -> list[str]:
    parts = zip(*(rows[name].to_pylist() for name in PARTS), strict=True)
    return [key for key, part in zip(rows["id"].to_pylist(), parts, strict=True) if key != prediction_key(*part)]


def _check_models(lake: LakeSnapshot, rows: pa.Table, report: Report) -> None:
    registry = lake.heads.get(MODELS)
    registered = registry.to_table(columns=["digest"])["digest"] if registry is not None else pa.array([], pa.string())
    unknown = rows.filter(pc.invert(pc.is_in(rows["model_digest"], registered)))
    dropped = pc.is_in(unknown["model_digest"], pa.array(sorted(dropped_models(lake)), pa.string()))
    report.expected_leftovers["predictions by models of a registry that was dropped"] += pc.sum(dropped).as_py() or 0
    unknown = unknown.filter(pc.invert(dropped))
    report.disagree_rows("prediction", PREDICTIONS, "its model is not in the registry", unknown["id"].to_pylist())


def _check_bytes(lake: LakeSnapshot, rows: pa.Table, report: Report) -> None:
    """Checks that the bytes of predictions were in an image table.

    Most are in the newest one. The others are looked up at the version that their step had pinned.
    """
    images, newest = Images(lake), lake.newest(IMAGE_TABLE.key)
    if newest is not None:
        rows = rows.filter(pa.array(~_has(images, newest.data_version, rows)))
    pins = _Pins(lake)
    created = rows["_row_created_at_version"].to_numpy()
    pins_by_version = {int(version): pins.of(int(version)) for version in np.unique(created)}
    for pin in sorted(set(pins_by_version.values())):
        versions = [version for version, other in pins_by_version.items() if other == pin]
        part = rows.filter(pa.array(np.isin(created, versions)))
        lost = part["id"].filter(pa.array(~_has(images, pin.pinned, part))).to_pylist()
        if pin.certain and images.readable(pin.pinned) is not None:
            sentence = f"names bytes that {pin.pinned} does not have"
            report.disagree_rows("prediction", PREDICTIONS, sentence, lost)
        else:
            report.expected_leftovers["predictions of images that were replaced, whose version expired"] += len(lost)


def _has(images: Images, pinned: str, rows: pa.Table) -> np.ndarray:
    mask = images.has(pinned, rows["image_id"], rows["sha256"])
    return np.zeros(rows.num_rows, dtype=bool) if mask is None else mask


@dataclass(frozen=True, order=True)
class Pin:
    """The images version that a step had pinned ("": unknown); certain where its own commit says so."""

    pinned: str
    certain: bool


class _Pins:
    """The images versions that prediction steps had pinned, by the version of `predictions` that they made."""

    def __init__(self, lake: LakeSnapshot) -> None:
        self._commits = lake.commits[PREDICTIONS]
        own = [
            record
            for record in lake.history.records.values()
            if record.asset == BATCH_PREDICTIONS.key and lake.is_here(record.ref)
        ]
        self._records = sorted(own, key=lambda record: record.ref.version)

    def of(self, version: int) -> Pin:
        """The pin that the commit names; where its version expired, the pin of the next materialization."""
        commit = self._commits.get(version)
        if commit is not None:
            return Pin((inputs_in(commit) or {}).get(IMAGE_TABLE.key, ""), certain=True)
        later = bisect_left(self._records, version, key=lambda record: record.ref.version)
        inputs = self._records[later].read if later < len(self._records) else {}
        return Pin(inputs.get(IMAGE_TABLE.key, ""), certain=False)
