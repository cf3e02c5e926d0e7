"""The Dagster side of lineage: pin the inputs once, run the job, publish what it wrote.

Every asset goes through `materialize` (or `materialize_each`), which holds the contract: what a step read, what its
commits name, what `lineage.lance` says and what Dagster records are the same versions.
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import AssetKey

from mm_assets.catalog import keys_where, table_of
from mm_assets.lineage.ancestry import diamond_conflict, walk
from mm_assets.lineage.budget import BudgetError
from mm_assets.lineage.columns import column_sources
from mm_assets.lineage.descriptions import described
from mm_assets.lineage.errors import BlockedError, RefusalError
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.steps.events import INPUT_POINTER, INPUT_VERSION, newest_event
from mm_assets.steps.gates import require_unblocked
from mm_assets.steps.metadata import check_result, shown

if TYPE_CHECKING:
    import pyarrow as pa

    from mm_assets.engines.lake.tables import Lake
    from mm_assets.resources import LakeResource

# Draws what the UI shows of a materialization: Markdown by name.
Previews = Callable[["Lake", Record], dict[str, str]]

RECORD = "lineage_record"
MAY_MIX_VERSIONS = keys_where(lambda row: row.mixes_versions)


def materialize(
    context: dg.AssetExecutionContext,
    lake: "LakeResource",
    job: Callable[[StepContext], StepResult],
    previews: Previews | None = None,
) -> dg.MaterializeResult:
    """Run the job of a step with one asset; `previews` draws what the UI shows of it.

    Raises:
        dagster.Failure: the step is refused; the message says what to do.
    """
    asset = context.asset_key.to_user_string()
    (result,) = materialize_each(context, lake, lambda step: {asset: job(step)}, previews)
    assert isinstance(result, dg.MaterializeResult)  # a check's result comes alone only before a failure
    return result


def materialize_each(
    context: dg.AssetExecutionContext,
    lake: "LakeResource",
    job: Callable[[StepContext], dict[str, StepResult]],
    previews: Previews | None = None,
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Run the job of a step with several assets, all of the same inputs; it returns what each says of itself.

    Of a step that a check has blocked the results of its checks alone are given, before it fails.
    """
    from mm_assets.history.publish import publish

    tables = lake.tables()
    started = time.monotonic()
    try:
        lake.check_writable()
        step, pointers = _begin(context, tables)
        finals, over = _done(job, step)
    except BlockedError as blocked:
        yield from (check_result(blocked.asset, verdict, None) for verdict in blocked.verdicts)
        raise dg.Failure(str(blocked), allow_retries=False) from None
    except RefusalError as refusal:
        # One that a worker raised carries the worker's trace; the sentence is its cause's.
        raise dg.Failure(str(getattr(refusal, "cause", refusal)), allow_retries=False) from None
    seconds = time.monotonic() - started
    for asset, final in finals.items():
        record = publish(tables, step, asset, table_of(asset), final)
        how = "as before" if record.reused else "new"
        context.log.info(f"{asset} is at {record.data_version} ({how}), {record.metadata['rows']:,} rows")
        pictures = _drawn(context, tables, record, previews)
        yield _result(tables, step, record, pointers, seconds, pictures)
        yield from (check_result(asset, verdict, record.data_version) for verdict in final.verdicts)
    if over is not None:
        raise dg.Failure(str(over), allow_retries=False)


def _done(
    job: Callable[[StepContext], dict[str, StepResult]], step: StepContext
) -> tuple[dict[str, StepResult], BudgetError | None]:
    """What a job says of the assets that it completed, and which of them failed too often."""
    try:
        return job(step), None
    except BudgetError as over:
        return over.finals, over


def _drawn(
    context: dg.AssetExecutionContext, tables: "Lake", record: Record, previews: Previews | None
) -> dict[str, Any]:
    """The pictures of a materialization; one that cannot be drawn says so, for what they show is published already."""
    if previews is None:
        return {}
    try:
        return {name: dg.MetadataValue.md(text) for name, text in previews(tables, record).items()}
    except Exception as error:
        context.log.warning(f"no preview of {record.asset}: {type(error).__name__}: {error}", exc_info=True)
        return {"preview_error": f"{type(error).__name__}: {error}"}


def _begin(context: dg.AssetExecutionContext, tables: "Lake") -> tuple[StepContext, dict[str, int | None]]:
    from mm_assets.history.materializations import last_records, own_commit, records

    assets = sorted(key.to_user_string() for key in context.selected_asset_keys)
    # First, so that a record lost to a crash is written before anybody looks for it.
    own = {asset: own_commit(tables, asset, table_of(asset)) for asset in assets}
    # Dagster's newest events are read once, and before the lake's history, which then holds the record of each.
    events = {key.to_user_string(): newest_event(context.instance, key) for key in _upstream_keys(context)}
    history = records(tables)
    latest = last_records(tables, list(history.values()))
    inputs, pointers = {}, {}
    for name, event in events.items():
        inputs[name], pointers[name] = pin(name, event, history, latest, tables.root)
        require_unblocked(context.instance, inputs[name])
    ancestors = {r.id: r for record in inputs.values() for r in walk(record, history)}
    if not MAY_MIX_VERSIONS.issuperset(assets):
        conflict = diamond_conflict(inputs, history)
        if conflict:
            raise RefusalError(conflict)
    for name, record in inputs.items():
        context.log.info(f"pinned {name} at {record.data_version}")
    codes = {asset: _code_version(context, asset) for asset in assets}
    step = StepContext(
        context.run_id, context.op_execution_context.op.name, codes, inputs, ancestors, own, context.log.info
    )
    return step, pointers


def _upstream_keys(context: dg.AssetExecutionContext) -> list[AssetKey]:
    selected = context.selected_asset_keys
    specs = (context.assets_def.get_asset_spec(key) for key in selected)
    return sorted({dep.asset_key for spec in specs for dep in spec.deps} - selected)


def _code_version(context: dg.AssetExecutionContext, asset: str) -> str:
    return context.assets_def.code_versions_by_key[AssetKey(asset.split("/"))] or ""


def pin(
    name: str, event: dg.EventLogRecord | None, history: dict[str, Record], latest: dict[str, Record], root: str
) -> tuple[Record, int | None]:
    """The materialization of an input that this step reads, and the storage id of its Dagster event.

    Its version overrides (in `_result`) the snapshot that Dagster itself took when the step began: otherwise an
    upstream that is re-materialized in between would be recorded at one version and read at another. An instance
    that does not know this lake's history (another lake's event, or none) adopts the lake's own record.

    Raises:
        RefusalError: the lake has no materialization of the input.
    """
    if name not in latest:
        raise RefusalError(f"{name} is not in the lake {root} yet: materialize {name} first")
    if event is not None and event.asset_materialization is not None:
        said = event.asset_materialization.metadata.get(RECORD)
        record = history.get(str(said.value)) if said is not None else None
        if record is not None and record.ref.table_id == latest[name].ref.table_id:
            return record, event.storage_id
    return latest[name], None


def _shown_column(asset: str, field: "pa.Field") -> dg.TableColumn:
    said = described(asset, field.name)
    return dg.TableColumn(field.name, str(field.type), said, dg.TableColumnConstraints(field.nullable))


def _own_columns(record: Record, names: list[str]) -> list[str]:
    """The columns of a table that an asset fills: several assets share the image table."""
    if "columns" not in record.metadata:
        return names
    scorer = record.asset.split("/")[-1]
    return [*record.metadata["columns"], f"{scorer}_rev", f"{scorer}_error"]


def _result(
    tables: "Lake",
    step: StepContext,
    record: Record,
    pointers: dict[str, int | None],
    seconds: float,
    pictures: dict[str, Any],
) -> dg.MaterializeResult:
    from mm_assets.engines.lake.sizes import bytes_written

    ds = tables.open(record.ref.table, record.ref.version)
    rows = record.metadata.get("rows_computed", record.metadata["rows"])
    before = step.own[record.asset].ref
    written = bytes_written(tables, record.ref.table, record.asset, step.run_id, before.version if before else 0)
    tags = {f"{INPUT_VERSION}{asset}": version for asset, version in record.read.items()}
    for name, pointer in pointers.items():
        if pointer is not None:
            tags[f"{INPUT_POINTER}{name}"] = str(pointer)
    sources = column_sources(record.asset, _own_columns(record, ds.schema.names))
    metadata: dict[str, Any] = {
        **pictures,
        **{name: shown(value) for name, value in record.metadata.items()},
        RECORD: record.id,
        "lance_version": record.ref.version,
        "reused": record.reused,
        "bytes_written": written,
        "inputs": shown(record.read or None),
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds, 1) if seconds and not record.reused else None,
        "dagster/uri": tables.uri(record.ref.table),
        "dagster/row_count": record.metadata["rows"],
        "dagster/column_schema": dg.TableSchema([_shown_column(record.asset, field) for field in ds.schema]),
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                column: [dg.TableColumnDep(AssetKey(asset.split("/")), name) for asset, name in found]
                for column, found in sources.items()
            }
        ),
        # The same for people: Dagster's open-source UI shows column lineage as JSON.
        "column_sources": shown({column: ", ".join(map(".".join, found)) for column, found in sources.items()} or None),
    }
    return dg.MaterializeResult(
        asset_key=AssetKey(record.asset.split("/")),
        data_version=dg.DataVersion(record.data_version),
        metadata={name: value for name, value in metadata.items() if value is not None},
        tags=tags,
    )
