"""The gate: no step reads a version that failed a blocking check. Dagster itself stops only the same run."""

import dagster as dg

from mm_assets.catalog import BLOCKING_CHECKS
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.records import Record
from mm_assets.steps.dagster_private import newest_evaluation
from mm_assets.steps.metadata import JUDGED


def require_unblocked(instance: dg.DagsterInstance, record: Record) -> None:
    """Refuse a version that failed a blocking check, unless the check has passed for it since.

    Args:
        instance: Dagster's instance with the results of checks; it may lack the materialization.
        record: the record of the input.

    Raises:
        RefusalError: a check failed; the message gives its name and its sentence.
    """
    failed = failed_check(instance, record.asset, record.data_version)
    if failed is not None:
        name, description = failed
        raise RefusalError(
            f"{record.asset} at {record.data_version} failed its check {name} ({description}): mend that, and "
            f"materialize {record.asset} again; or run the check again where its limit was wrong"
        )


def failed_check(instance: dg.DagsterInstance, asset: str, data_version: str) -> tuple[str, str] | None:
    """The blocking check that a version failed when it was last checked, as name and sentence; None: no check."""
    for name in BLOCKING_CHECKS:
        outcome = newest_evaluation(instance, dg.AssetCheckKey(dg.AssetKey.from_user_string(asset), name))
        if outcome is not None and _is_error(outcome) and _judged(outcome) == data_version:
            return name, outcome.description or ""
    return None


def _is_error(outcome: dg.AssetCheckEvaluation) -> bool:
    return bool(outcome.blocking) and not outcome.passed and outcome.severity == dg.AssetCheckSeverity.ERROR


def _judged(outcome: dg.AssetCheckEvaluation) -> str | None:
    entry = outcome.metadata.get(JUDGED)
    return None if entry is None else str(entry.value)
