"""What a blocking check has failed is read by no step, also of a later run: Dagster alone stops only the same run."""

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as COMPLETED,
)

from mm_assets.lineage.events import DATA_VERSION, tags_of
from mm_assets.lineage.refs import RefusalError

# The blocking checks that run after their asset was published; the dataset's own come before that.
AFTER_PUBLICATION = ("coverage", "error_budget", "lineage_verified")
# Metadata of an evaluation: the data version that was judged.
JUDGED = "data_version"


def require_unblocked(instance: dg.DagsterInstance, asset: str, event: dg.EventLogRecord) -> None:
    """Hold a step off a materialization that failed a blocking check, unless the check has passed since.

    Args:
        instance: which knows the checks.
        asset: the input.
        event: its materialization.

    Raises:
        RefusalError: the message says which check found what.
    """
    for name in AFTER_PUBLICATION:
        found = _evaluation(instance, dg.AssetCheckKey(dg.AssetKey(asset.split("/")), name))
        target = found and found.target_materialization_data
        if found and target and target.storage_id == event.storage_id and found.blocking and _is_error(found):
            version = tags_of(event).get(DATA_VERSION)
            raise RefusalError(
                f"{asset} at {version} failed its check {name} ({found.description}): mend that, and materialize "
                f"{asset} again; or run the check again where its limit was wrong"
            )


def failed_check(instance: dg.DagsterInstance, asset: str, data_version: str) -> tuple[str, str] | None:
    """The first blocking check that a version has failed: its name, and what it said; None where there is none."""
    for name in AFTER_PUBLICATION:
        found = _evaluation(instance, dg.AssetCheckKey(dg.AssetKey(asset.split("/")), name))
        if found and found.blocking and _is_error(found) and _judged(found) == data_version:
            return name, found.description or ""
    return None


def _judged(found: dg.AssetCheckEvaluation) -> str | None:
    said = found.metadata.get(JUDGED)
    return str(said.value) if said else None


def _evaluation(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> dg.AssetCheckEvaluation | None:
    """The newest result of a check, whatever is planned or running."""
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=set(COMPLETED))
    event = records[0].event if records else None
    return event.dagster_event.asset_check_evaluation_data if event and event.dagster_event else None


def _is_error(found: dg.AssetCheckEvaluation) -> bool:
    return not found.passed and found.severity == dg.AssetCheckSeverity.ERROR
