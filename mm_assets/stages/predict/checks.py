"""Checks of the predictions: an error where answers are missing, warnings where their labels or accuracy moved."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from mm_assets.catalog import BATCH_PREDICTIONS, IMAGE_TABLE
from mm_assets.judging.verdicts import Verdict, not_known
from mm_assets.lineage.records import Record
from mm_assets.resources import LakeResource
from mm_assets.settings import Settings
from mm_assets.steps.checks import judged

if TYPE_CHECKING:
    from mm_assets.history.materialized import Materialized

ASSET = BATCH_PREDICTIONS.key


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "coverage",
            asset=ASSET,
            blocking=True,
            description="Fails when a smaller share of the usable images than `checks.min_prediction_coverage` has an "
            "answer of this model to this prompt.",
        ),
        dg.AssetCheckSpec(
            "drift",
            asset=ASSET,
            description="Warns when the population stability index of the predicted labels against those of the last "
            "promoted run is above `checks.max_drift`.",
        ),
        dg.AssetCheckSpec(
            "held_out_accuracy",
            asset=ASSET,
            description="Warns when the accuracy of these predictions on the dataset's held-out examples is below that "
            "of the model's evaluation, by more than `automation.max_accuracy_drop`.",
        ),
    ],
    can_subset=True,
)
def batch_predictions_checks(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.AssetCheckResult]:
    """Missing answers, moved labels, and the accuracy on held-out images; no model runs."""
    judges = {
        "coverage": lambda checked: _predicted(checked, settings),
        "drift": lambda checked: _moved(checked, settings),
        "held_out_accuracy": lambda checked: _held_out(checked, settings),
    }
    yield from judged(context, lake, {ASSET: judges})


def _labels(checked: "Materialized") -> tuple[pa.ChunkedArray, int]:
    """The label of each answer to a usable image (null for a caption), and the number of usable images."""
    from mm_assets.stages.predict.join import join_answers

    images = checked.lake.open_at(checked.input(IMAGE_TABLE.key).ref)
    usable = images.to_table(columns=["image_id", "sha256"], filter="error is null")
    return join_answers(checked.ds, checked.record, usable, ["label"])["label"], usable.num_rows


def _predicted(checked: "Materialized", settings: Settings) -> Verdict:
    from mm_assets.stages.predict.verdicts import predicted

    labels, usable = _labels(checked)
    return predicted(len(labels), usable, settings.checks.min_prediction_coverage)


def _moved(checked: "Materialized", settings: Settings) -> Verdict:
    from mm_assets.judging.statistics import count_values
    from mm_assets.stages.predict.verdicts import moved

    promotion = checked.history.last_promotion()
    if promotion is None:
        return not_known("drift", "nothing was promoted yet")
    reference = first_predictions(promotion, checked.history.records)
    if reference is None:
        return not_known("drift", f"the model that {promotion.data_version} promoted has predicted nothing since")
    labels, _ = _labels(checked)
    now = count_values(labels.drop_null())
    then: dict[str, int] = reference.metadata["predicted_labels"]
    reference_name = f"the last promoted run ({reference.data_version})"
    return moved(then, now, settings.checks.max_drift, reference_name)


def first_predictions(promotion: Record, history: Mapping[str, Record]) -> Record | None:
    """The first predictions of a promoted model after its promotion.

    Args:
        promotion: the evaluation.
        history: all records by id, oldest first.
    """
    later = list(history.values())[list(history).index(promotion.id) :]
    digest = promotion.metadata["challenger"]
    return next((record for record in later if record.asset == ASSET and record.metadata.get("digest") == digest), None)


def _held_out(checked: "Materialized", settings: Settings) -> Verdict:
    from mm_assets.stages.predict.held_out import held_out_accuracy
    from mm_assets.stages.predict.verdicts import held_out

    measured = held_out_accuracy(checked.history, checked.record)
    return held_out(measured, settings.automation.max_accuracy_drop)
