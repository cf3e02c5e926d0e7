"""The job `verify`, and the check that every asset has on its page."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from mm_assets.catalog import LINEAGE_VERIFIED
from mm_assets.resources import LakeResource
from mm_assets.steps.metadata import JUDGED, as_metadata

if TYPE_CHECKING:
    from mm_assets.operations.verify.report import Report

# So many disagreements are in the error's text; the log has all.
MOST_LINES = 10


class VerifyConfig(dg.Config):
    """What a run may be told."""

    deep: bool = Field(False, description="Read the bytes of all images, and compare them with their digests.")


@dg.op(out=dg.Out(dg.Nothing))
def verification(context: dg.OpExecutionContext, config: VerifyConfig, lake: LakeResource) -> dg.Output[None]:
    """The lake's history against commits, tags, files and rows, and against Dagster's event log.

    Fails where anything disagrees, with a line for each; changes nothing.
    """
    from mm_assets.operations.verify.dagster_log import DagsterLog
    from mm_assets.operations.verify.job import verify as compare

    report = compare(lake.tables(), context.log.info, DagsterLog(context.instance), deep=config.deep)
    for item in report.disagreements:
        context.log.error(f"{item.kind}: {item}")
    if report.disagreements:
        raise dg.Failure(_sentence(report), metadata=_metadata_of(report), allow_retries=False)
    return dg.Output(None, metadata=_metadata_of(report))


def _sentence(report: "Report") -> str:
    lines = [str(item) for item in report.disagreements]
    more = [f"... and {len(lines) - MOST_LINES:,} more"] if len(lines) > MOST_LINES else []
    return "\n".join([report.verdict, *lines[:MOST_LINES], *more])


def _metadata_of(report: "Report") -> dict[str, Any]:
    values = report.as_json()
    return {name: as_metadata(value) for name, value in values.items() if value}


@dg.job(
    name="verify",
    description="Prove that the lake's history holds: records, commits, tags, files, rows and Dagster's events agree; "
    "changes nothing.",
)
def verify() -> None:
    """One op."""
    verification()


def lineage_checks(keys: Iterable[dg.AssetKey]) -> list[dg.AssetChecksDefinition]:
    """A check for each asset: what Dagster says of its newest materialization is what the lake holds."""
    return [_lineage_check(key) for key in keys]


def _lineage_check(key: dg.AssetKey) -> dg.AssetChecksDefinition:
    @dg.asset_check(name=LINEAGE_VERIFIED, asset=key, blocking=True)
    def check(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        """Fails when the newest event, its record in the lake, the commit, run, inputs and tag disagree."""
        from mm_assets.operations.verify.dagster_log import newest
        from mm_assets.operations.verify.newest import verify_newest

        report, record = verify_newest(lake.tables(), key.to_user_string(), newest(context.instance, key))
        judged = {JUDGED: record.data_version} if record else {}
        if report.disagreements:
            metadata = {**judged, **_metadata_of(report)}
            return dg.AssetCheckResult(passed=False, description=_sentence(report), metadata=metadata)
        sentence = f"{record.data_version} is what was read and written" if record else "nothing was materialized yet"
        return dg.AssetCheckResult(passed=True, description=sentence, metadata=judged)

    return check
