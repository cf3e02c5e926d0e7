"""Whether a model is still as good as in its evaluation: the accuracy of its predictions on held-out images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.catalog import BATCH_PREDICTIONS, EVALUATION, SFT_DATASET
from mm_assets.judging.statistics import wilson_upper
from mm_assets.lineage.records import Record
from mm_assets.splits import TEST
from mm_assets.stages.predict.join import join_answers

if TYPE_CHECKING:
    from mm_assets.engines.lake.tables import Lake
    from mm_assets.history.history import History


@dataclass(frozen=True)
class HeldOut:
    """Two accuracies of one model.

    Args:
        model: its digest.
        accuracy: accuracy of its newest predictions, on the held-out examples of the newest dataset.
        evaluated: accuracy that its evaluation reported.
        examples: number of examples behind `accuracy`.
    """

    model: str
    accuracy: float
    evaluated: float
    examples: int

    @property
    def drop(self) -> float:
        """By how much the accuracy fell; negative where it rose."""
        return self.evaluated - self.accuracy

    def dropped(self, most: float) -> bool:
        """Whether the accuracy fell by more than `most`, and by more than chance explains on so few examples."""
        return self.drop > most and wilson_upper(self.accuracy, self.examples) < self.evaluated


def held_out_accuracy(history: "History", predictions: Record | None = None) -> HeldOut | None:
    """Compare predictions with the labels that held-out examples have now.

    Examples of the split test and the task label are joined with predictions on image and bytes. An image without an
    answer does not count: a failed engine does not mean a bad model.

    Args:
        history: history of the lake.
        predictions: a materialization of `batch_predictions`; None: the newest.

    Returns:
        None where there is nothing to compare: no predictions of labels, no dataset, no evaluation of that model by
        its accuracy, or no held-out example with an answer.

    Raises:
        GoneError: the version of the predictions or of the dataset expired.
    """
    lake, newest = history.lake, history.newest
    predictions = predictions or newest.get(BATCH_PREDICTIONS.key)
    dataset = newest.get(SFT_DATASET.key)
    if predictions is None or dataset is None or predictions.metadata.get("task") != "label":
        return None
    evaluation = _evaluation(history.records, predictions.metadata["digest"])
    if evaluation is None:
        return None
    answers = join_answers(lake.open_at(predictions.ref), predictions, _examples(lake, dataset), ["label"])
    if not answers.num_rows:
        return None
    right = pc.mean(pc.equal(answers["label"], answers["of_label"])).as_py()
    model, evaluated = predictions.metadata["digest"], evaluation.metadata["accuracy"]
    return HeldOut(model, float(right), evaluated, answers.num_rows)


def _evaluation(history: Mapping[str, Record], digest: str) -> Record | None:
    """The newest evaluation with a model as challenger, if all answered and it was judged by accuracy."""
    of_model = [
        record
        for record in history.values()
        if record.asset == EVALUATION.key
        and record.metadata.get("challenger") == digest
        and not record.metadata["rows_failed"]
    ]
    return of_model[-1] if of_model and of_model[-1].metadata["measure"] == "accuracy" else None


def _examples(lake: "Lake", dataset: Record) -> pa.Table:
    """Held-out examples of a label: `image_id`, `sha256`, `label`."""
    held_out = f"split = '{TEST}' and task = 'label'"
    examples = lake.open_at(dataset.ref).to_table(columns=["images", "label"], filter=held_out)
    images = pc.list_element(examples["images"], 0)  # each has one
    parts = [pc.struct_field(images, name) for name in ("image_id", "sha256")]
    return pa.table([*parts, examples["label"]], names=["image_id", "sha256", "label"])
