"""Verdicts on the predictions: whether images lack one, and whether labels or accuracy moved."""

from collections.abc import Mapping

from mm_assets.judging import drift
from mm_assets.judging.verdicts import Verdict, coverage, limit, not_known
from mm_assets.stages.predict.held_out import HeldOut

COVERAGE, DROP = "checks.min_prediction_coverage", "automation.max_accuracy_drop"


def predicted(answers: int, usable: int, least: float) -> Verdict:
    """Whether enough usable images have an answer of this model to this prompt."""
    do = "look at the column error, then materialize batch_predictions with retry_errors, or allow less"
    return coverage(answers, usable, least, COVERAGE, "an answer of this model to this prompt", do)


def moved(then: Mapping[str, int], now: Mapping[str, int], most: float, reference: str) -> Verdict:
    """Whether the shares of the predicted labels have moved.

    Args:
        then: counts by label.
        now: counts by label.
        most: greatest population stability index.
        reference: name of the run that `then` is of.
    """
    return drift.verdict({"labels": drift.of_labels(then, now)}, most, reference)


def held_out(measured: HeldOut | None, most: float) -> Verdict:
    """Whether the accuracy on held-out images has stayed close enough to the accuracy in the evaluation.

    Args:
        measured: both accuracies; None where they are not known.
        most: greatest drop, 0 to 1.
    """
    name = "held_out_accuracy"
    if measured is None:
        return not_known(name, "no held-out example has a label predicted by a model that was evaluated")
    passed = not measured.dropped(most)
    few = "; with so few examples that may be chance" if passed and measured.drop > most else ""
    do = few if passed else ": look at what the new images and labels are like, and train again"
    return Verdict(
        name,
        passed,
        f"accuracy {measured.accuracy:.3f} on {measured.examples:,} held-out examples, {measured.evaluated:.3f} "
        f"when the model was evaluated; {limit(DROP, most)}{do}",
        {
            "accuracy": measured.accuracy,
            "evaluated": measured.evaluated,
            "drop": measured.drop,
            "examples": measured.examples,
        },
        "WARN",
    )
