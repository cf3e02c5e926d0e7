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
LEARNED_COLUMNS = ["example_id", "images", "label", "messages"]


@dataclass(frozen=True)
class Verdict:
    """Whether to train, and why or why not, in words for people."""

    train: bool
    sentence: str


def judge_training(history: "History", settings: AutomationSettings, code_version: str) -> Verdict:
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
    about_accuracy, dropped = _accuracy_drop(history, settings.max_accuracy_drop)
    new = new_examples(history.lake, newest[DATASET].ref, trained_on[DATASET])
    sentence = f"{new:,} of {settings.min_new_examples:,} new training examples{about_accuracy}"
    if dropped and trained_on[DATASET] == newest[DATASET].data_version:
        return Verdict(False, f"{sentence}; but the checkpoint was trained on this very dataset")
    return Verdict(dropped or new >= settings.min_new_examples, sentence)


def _accuracy_drop(history: "History", max_drop: float) -> tuple[str, bool]:
    """The accuracy on held-out images in words, and whether it has dropped.

    Only predictions of the newest checkpoint count: an older one that got worse may be why this one was trained.
    """
    from mm_assets.stages.predict.held_out import held_out_accuracy

    newest = history.newest
    predicted = newest.get(BATCH_PREDICTIONS.key)
    if predicted is None:
        return "", False
    predicted_by, checkpoint = predicted.metadata["digest"], newest[CHECKPOINT].metadata["digest"]
    if predicted_by != checkpoint:
        return (
            f"; accuracy not judged: the predictions are of {predicted_by}, the newest checkpoint is {checkpoint}",
            False,
        )
    accuracy = held_out_accuracy(history)
    if accuracy is None:
        return "", False
    sentence = f"; accuracy on held-out images {accuracy.accuracy:.3f}, {accuracy.evaluated:.3f} at the evaluation"
    return sentence, accuracy.dropped(max_drop)


def new_examples(tables: "Lake", dataset: LanceRef, before: str) -> int:
    """Counts the training examples of a dataset that are new or changed since an earlier data version.

    All count where the earlier version cannot be read any more. The reads are in proportion to what changed.
    """
    from mm_assets.engines.lake.changes import changes_since, difference, older
    from mm_assets.engines.lake.rows import rows_by_key
    from mm_assets.splits import TRAIN

    if str(dataset) == before:
        return 0
    columns = [*LEARNED_COLUMNS, "split"]
    same_table = before.rpartition("@v")[0] == str(dataset).rpartition("@v")[0]
    past = older(tables, dataset, version_of(before) if same_table else None)
    if past is None:
        return int(tables.open_at(dataset).count_rows(filter=f"split = '{TRAIN}'"))
    changes = changes_since(tables, dataset, past.version, columns)
    assert changes is not None
    rows = _of_split(changes.rows, TRAIN)
    earlier_rows = rows_by_key(past, "example_id", rows["example_id"].to_pylist(), columns)
    written, _ = difference(_of_split(earlier_rows, TRAIN), rows, "example_id")
    return len(written)


def _of_split(rows: "pa.Table", split: str) -> "pa.Table":
    import pyarrow.compute as pc

    return rows.filter(pc.fill_null(pc.equal(rows["split"], split), False)).select(LEARNED_COLUMNS)
