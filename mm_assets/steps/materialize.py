"""The Dagster side of one step: begin, run the job, publish what it wrote, and report it.

Every asset goes through `materialize` or `materialize_each`. They keep one contract: the step's reads, its commits,
`lineage.lance` and Dagster's events name the same versions.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg
from dagster import AssetKey

from mm_assets.lineage.budget import BudgetError
from mm_assets.lineage.columns import TableColumns
from mm_assets.lineage.errors import BlockedError, RefusalError
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.steps.gates import require_unblocked
from mm_assets.steps.metadata import check_result
from mm_assets.steps.pins import Pins
from mm_assets.steps.previews import Previews, previews_of
from mm_assets.steps.results import result_of

if TYPE_CHECKING:
    from mm_assets.history.begin import OpenStep
    from mm_assets.resources import LakeResource

Job = Callable[[StepContext], dict[str, StepResult]]


def materialize(
    context: dg.AssetExecutionContext,
    lake: "LakeResource",
    job: Callable[[StepContext], StepResult],
    previews: Previews | None = None,
    *,
    columns: TableColumns,
) -> dg.MaterializeResult:
    """Run the job of a step with one asset.

    Args:
        context: Dagster's context of the step.
        lake: the lake's resource.
        job: reads, computes and commits.
        previews: draws what the UI shows of the materialization.
        columns: the columns of the asset's table, for the UI.

    Raises:
        dagster.Failure: the step is refused; the message says what to do.
    """
    asset = context.asset_key.to_user_string()
    (result,) = materialize_each(context, lake, lambda step: {asset: job(step)}, previews, columns=columns)
    assert isinstance(result, dg.MaterializeResult)  # a check's result comes alone only before a failure
    return result


def materialize_each(
    context: dg.AssetExecutionContext,
    lake: "LakeResource",
    job: Job,
    previews: Previews | None = None,
    *,
    columns: TableColumns,
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Run the job of a step with several assets of the same inputs; the job returns the result of each.

    A step that its own checks have blocked yields the results of these checks, and then fails.

    Raises:
        dagster.Failure: the step is refused; the message says what to do.
    """
    started = time.monotonic()
    try:
        lake.check_writable()
        step, pointers = _begin(context, lake)
        results, over = run_job(job, step.context)
    except BlockedError as blocked:
        yield from (check_result(blocked.asset, verdict, None) for verdict in blocked.verdicts)
        raise dg.Failure(str(blocked), allow_retries=False) from None
    except RefusalError as refusal:
        # One that a worker raised carries the worker's trace; the sentence is its cause's.
        raise dg.Failure(str(getattr(refusal, "cause", refusal)), allow_retries=False) from None
    seconds = time.monotonic() - started
    for asset, result in results.items():
        record = step.publish(asset, result)
        how = "as before" if record.reused else "new"
        context.log.info(f"{asset} is at {record.data_version} ({how}), {record.metadata['rows']:,} rows")
        pictures = previews_of(context, step, record, previews)
        yield result_of(step, record, columns, pointers, seconds, pictures)
        yield from (check_result(asset, verdict, record.data_version) for verdict in result.verdicts)
    if over is not None:
        raise dg.Failure(str(over), allow_retries=False)


def _begin(context: dg.AssetExecutionContext, lake: "LakeResource") -> tuple["OpenStep", Mapping[str, int | None]]:
    """Begin the step; also returns the storage ids of the Dagster events of its inputs, by asset."""
    from mm_assets.history.begin import StepRequest, begin

    pins = Pins(context)
    assets = sorted(key.to_user_string() for key in context.selected_asset_keys)
    request = StepRequest(
        context.run_id,
        context.op_execution_context.op.name,
        {asset: _code_version(context, asset) for asset in assets},
        pins.inputs,
        log=context.log.info,
    )
    step = begin(lake.tables(), request, pins.choose, lambda record: require_unblocked(context.instance, record))
    for name, record in step.context.inputs.items():
        context.log.info(f"pinned {name} at {record.data_version}")
    return step, pins.pointers


def run_job(job: Job, step: StepContext) -> tuple[dict[str, StepResult], BudgetError | None]:
    """Run a job: the results of the assets that it completed, and the error where others failed too often."""
    try:
        return job(step), None
    except BudgetError as over:
        return over.results, over


def _code_version(context: dg.AssetExecutionContext, asset: str) -> str:
    return context.assets_def.code_versions_by_key[AssetKey.from_user_string(asset)] or ""
