"""Whether a training would be worth its while."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mm_assets.catalog import BASE_MODEL, BATCH_PREDICTIONS, LLAVA_CHECKPOINT, SFT_DATASET
from mm_assets.lineage.refs import LanceRef, version_of
from mm_assets.settings import AutomationSettings

if TYPE_CHECKING:
    import pyarrow as pa

    from mm_assets.engines.lake.tables import Lake
    from mm_assets.history.history import History

CHECKPOINT, DATASET, BASE = LLAVA_CHECKPOINT.key, SFT_DATASET.key, BASE_MODEL.key
# What makes an example another one to learn from.
LEARNED = ["example_id", "images", "label", "messages"]


@dataclass(frozen=True)
class Verdict:
    """Whether to train, and why or why not, in words for people."""

    train: bool
    sentence: str


def worth_training(history: "History", settings: AutomationSettings, code_version: str) -> Verdict:
    """Judge by what the lake holds.

    Args:
        history: of the lake.
        settings: how many new examples, and which drop of accuracy.
        code_version: of the training now, its recipe included.
    """
    newest = history.newest
    for name in (BASE, DATASET):
        if name not in newest:
            return Verdict(False, f"there is no {name} yet")
    if CHECKPOINT not in newest:
        return Verdict(True, "there is no checkpoint yet")
    before = newest[CHECKPOINT]
    if before.code_version != code_version:
        return Verdict(True, "the recipe or the code of the training has changed")
    trained_on = before.read
    if trained_on.get(BASE) != newest[BASE].data_version:
        return Verdict(True, f"{BASE} is another one ({newest[BASE].data_version})")
    said, dropped = _held_out(history, settings.max_accuracy_drop)
    new = new_examples(history.lake, newest[DATASET].ref, trained_on[DATASET])
    sentence = f"{new:,} of {settings.min_new_examples:,} new training examples{said}"
    if dropped and trained_on[DATASET] == newest[DATASET].data_version:
        return Verdict(False, f"{sentence}; but the checkpoint was trained on this very dataset")
    return Verdict(dropped or new >= settings.min_new_examples, sentence)


def _held_out(history: "History", max_drop: float) -> tuple[str, bool]:
    """What is known of the accuracy on held-out images, in words, and whether it has dropped.

    Only predictions of the newest checkpoint count: that an older one got worse may be why this one was trained.
    """
    from mm_assets.stages.predict.held_out import held_out_accuracy

    newest = history.newest
    predicted = newest.get(BATCH_PREDICTIONS.key)
    if predicted is None:
        return "", False
    answered, checkpoint = predicted.metadata["digest"], newest[CHECKPOINT].metadata["digest"]
    if answered != checkpoint:
        return f"; accuracy not judged: the predictions are of {answered}, the newest checkpoint is {checkpoint}", False
    found = held_out_accuracy(history)
    if found is None:
        return "", False
    said = f"; accuracy on held-out images {found.accuracy:.3f}, {found.evaluated:.3f} at the evaluation"
    return said, found.dropped(max_drop)


def new_examples(tables: "Lake", dataset: LanceRef, before: str) -> int:
    """How many training examples of a dataset are new, or others than at an earlier data version of it.

    All count where the earlier version is not there any more. What is read is in proportion to what changed.
    """
    from mm_assets.engines.lake.changes import changes_since, difference, older
    from mm_assets.engines.lake.rows import rows_by_key
    from mm_assets.splits import TRAIN

    if str(dataset) == before:
        return 0
    columns = [*LEARNED, "split"]
    same_table = before.rpartition("@v")[0] == str(dataset).rpartition("@v")[0]
    past = older(tables, dataset, version_of(before) if same_table else None)
    if past is None:
        return int(tables.open_at(dataset).count_rows(filter=f"split = '{TRAIN}'"))
    changes = changes_since(tables, dataset, past.version, columns)
    assert changes is not None
    rows = _of_split(changes.rows, TRAIN)
    known = rows_by_key(past, "example_id", rows["example_id"].to_pylist(), columns)
    written, _ = difference(_of_split(known, TRAIN), rows, "example_id")
    return len(written)


def _of_split(rows: "pa.Table", split: str) -> "pa.Table":
    import pyarrow.compute as pc

    return rows.filter(pc.fill_null(pc.equal(rows["split"], split), False)).select(LEARNED)
