"""The Dagster side of checks that run after an asset; they judge the version of the asset's newest event."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg

from mm_assets.judging.verdicts import Verdict
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.records import Record
from mm_assets.steps.events import newest_event
from mm_assets.steps.metadata import check_result
from mm_assets.steps.pins import pin

if TYPE_CHECKING:
    from mm_assets.history.materialized import Materialized
    from mm_assets.resources import LakeResource


# By asset, then by the name of the check.
Judges = Mapping[str, Mapping[str, Callable[["Materialized"], Verdict]]]


def judged(
    context: dg.AssetCheckExecutionContext, lake: "LakeResource", judges: Judges
) -> Iterator[dg.AssetCheckResult]:
    """Run the selected checks.

    Raises:
        dagster.Failure: the lake lacks a materialization to check; the message says what to do.
    """
    from mm_assets.history.history import History
    from mm_assets.history.materialized import Materialized

    selected = context.selected_asset_check_keys
    # As in a step: Dagster's events are read before the history, which then holds the record of each.
    events = {key: newest_event(context.instance, key) for key in sorted({check.asset_key for check in selected})}
    history = History.read(lake.tables())
    refused = []
    for key, event in events.items():
        asset = key.to_user_string()
        try:
            record, _ = pin(asset, event, history)
            checked = Materialized(record, history)
            for name in sorted(check.name for check in selected if check.asset_key == key):
                verdict = judges[asset][name](checked)
                _tell(context, record, verdict)
                yield check_result(asset, verdict, record.data_version)
        except RefusalError as refusal:  # the other assets can still be checked
            refused.append(str(refusal))
    if refused:
        raise dg.Failure("; ".join(refused), allow_retries=False)


def _tell(context: dg.AssetCheckExecutionContext, record: Record, verdict: Verdict) -> None:
    """Write the verdict to the log, because the error of a failed run names only the check."""
    failed = context.log.warning if verdict.severity == "WARN" else context.log.error
    log = context.log.info if verdict.passed else failed
    log(f"{record.asset} at {record.data_version}, {verdict.name}: {verdict.sentence}")
