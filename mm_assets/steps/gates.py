"""What a blocking check has failed is read by no step, also of a later run: Dagster alone stops only the same run."""

import dagster as dg

from mm_assets.catalog import BLOCKING_CHECKS
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.records import Record
from mm_assets.steps.dagster_private import newest_evaluation
from mm_assets.steps.metadata import JUDGED


def require_unblocked(instance: dg.DagsterInstance, record: Record) -> None:
    """Hold a step off a version that failed a blocking check, unless the check has passed for it since.

    Args:
        instance: which knows the checks, perhaps without knowing the materialization.
        record: the input.

    Raises:
        RefusalError: the message says which check found what.
    """
    failed = failed_check(instance, record.asset, record.data_version)
    if failed is not None:
        name, description = failed
        raise RefusalError(
            f"{record.asset} at {record.data_version} failed its check {name} ({description}): mend that, and "
            f"materialize {record.asset} again; or run the check again where its limit was wrong"
        )


def failed_check(instance: dg.DagsterInstance, asset: str, data_version: str) -> tuple[str, str] | None:
    """The name of a blocking check that a version of an asset failed when it was last checked, and what was found."""
    for name in BLOCKING_CHECKS:
        outcome = newest_evaluation(instance, dg.AssetCheckKey(dg.AssetKey(asset.split("/")), name))
        if outcome is not None and _is_error(outcome) and _judged(outcome) == data_version:
            return name, outcome.description or ""
    return None


def _is_error(outcome: dg.AssetCheckEvaluation) -> bool:
    return bool(outcome.blocking) and not outcome.passed and outcome.severity == dg.AssetCheckSeverity.ERROR


def _judged(outcome: dg.AssetCheckEvaluation) -> str | None:
    entry = outcome.metadata.get(JUDGED)
    return None if entry is None else str(entry.value)
