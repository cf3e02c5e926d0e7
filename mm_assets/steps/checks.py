"""The Dagster side of checks that run after an asset: each looks at the version that the asset's newest event names."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import dagster as dg

from mm_assets.judging.verdicts import Verdict
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.promotions import made_from
from mm_assets.lineage.records import Record
from mm_assets.steps.events import newest_event
from mm_assets.steps.materialize import pin
from mm_assets.steps.metadata import check_result

if TYPE_CHECKING:
    import lance

    from mm_assets.engines.lake.tables import Lake
    from mm_assets.resources import LakeResource


@dataclass(frozen=True)
class Checked:
    """What a check looks at: a materialization, and the lake and the history that it is part of.

    Args:
        tables: the lake.
        record: the materialization.
        history: all records by id, oldest first.
    """

    tables: "Lake"
    record: Record
    history: Mapping[str, Record]

    @cached_property
    def ds(self) -> "lance.LanceDataset":
        """The asset's table at that materialization."""
        return self.tables.open_at(self.record.ref)

    def input(self, asset: str) -> Record:
        """The materialization of an asset that this one was made from."""
        found = made_from(self.record, asset, self.history)
        if found is None:
            raise RefusalError(f"{self.record.data_version} was made from no {asset}: materialize it again")
        return found


# By asset, then by the name of the check.
Judges = Mapping[str, Mapping[str, Callable[[Checked], Verdict]]]


def judged(
    context: dg.AssetCheckExecutionContext, lake: "LakeResource", judges: Judges
) -> Iterator[dg.AssetCheckResult]:
    """Make those of the checks that are selected.

    Raises:
        dagster.Failure: the lake has no such materialization; the message says what to do.
    """
    from mm_assets.history.materializations import last_records, records

    tables = lake.tables()
    asked = context.selected_asset_check_keys
    # As in a step: Dagster's events are read first, and the lake's history then holds the record of each.
    events = {key: newest_event(context.instance, key) for key in sorted({check.asset_key for check in asked})}
    history = records(tables)
    latest = last_records(tables, list(history.values()))
    refused = []
    for key, event in events.items():
        asset = key.to_user_string()
        try:
            record, _ = pin(asset, event, history, latest, tables.root)
            checked = Checked(tables, record, history)
            for name in sorted(check.name for check in asked if check.asset_key == key):
                verdict = judges[asset][name](checked)
                _tell(context, record, verdict)
                yield check_result(asset, verdict, record.data_version)
        except RefusalError as refusal:  # the other assets can be checked all the same
            refused.append(str(refusal))
    if refused:
        raise dg.Failure("; ".join(refused), allow_retries=False)


def _tell(context: dg.AssetCheckExecutionContext, record: Record, verdict: Verdict) -> None:
    """Say it in the log, too: a run that an error has failed names no more than the check."""
    failed = context.log.warning if verdict.severity == "WARN" else context.log.error
    log = context.log.info if verdict.passed else failed
    log(f"{record.asset} at {record.data_version}, {verdict.name}: {verdict.sentence}")
