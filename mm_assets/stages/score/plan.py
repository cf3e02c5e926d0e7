"""Plans a pass of scoring: the cells to compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.lake.rows import rows_by_id
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.reuse import outside_versions_since, written_at
from mm_assets.lineage.refs import LanceRef
from mm_assets.lineage.step import StepContext
from mm_assets.scoring import Scorer
from mm_assets.settings import Resources, ScoreSettings
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.score.filters import changed_beside, has_failed, usable_at

# Columns of the image table in the rows of a plan.
READ = ["sha256", "num_bytes"]


@dataclass(frozen=True)
class ScorePlan:
    """What a pass has to compute.

    Args:
        work: rows (`_rowid`, `sha256`, `num_bytes`; oldest first) by the scorers whose cells they lack.
        version: version of the image table that the plan was made at.
        rows: number of usable images of the pinned version.
        failed: number of failed cells that stay as they are, by scorer.
    """

    work: Mapping[tuple[Scorer, ...], pa.Table]
    version: int
    rows: int
    failed: Mapping[str, int] = field(default_factory=dict)


def make_plan(
    step: StepContext,
    lake: Lake,
    head: lance.LanceDataset,
    pinned: LanceRef,
    scorers: Sequence[Scorer],
    settings: ScoreSettings,
    *,
    retry_errors: bool,
) -> ScorePlan:
    """Find the cells that are not computed at their scorer's revision, of images that the pinned version has.

    Args:
        step: the step with its pinned inputs.
        lake: read.
        head: the image table at its newest version.
        pinned: the version of the image table that the scores answer for.
        scorers: the chosen scorers.
        settings: resources by scorer.
        retry_errors: compute failed cells again.
    """
    usable = usable_at(pinned)
    failed = [has_failed(scorer) for scorer in scorers]
    outside = outside_versions_since(head, *(step.last_record(scorer.asset) for scorer in scorers))
    stale = [_stale(step, scorer, outside.get(scorer.asset, [])) for scorer in scorers]
    if retry_errors:
        stale = [f"({lacks}) or ({error})" for lacks, error in zip(stale, failed, strict=True)]
    changed = {
        number: changed_beside(lake.open_at(pinned), head, scorer, _since(step, scorer))
        for number, scorer in enumerate(scorers)
        if scorer.reads
    }
    lacking = _with_changed(_rows_where(head, usable, stale, READ), head, len(scorers), changed)
    counts = [0] * len(scorers) if retry_errors else _counts(head, usable, failed)
    return ScorePlan(
        _by_scorers(lacking, scorers, settings),
        head.version,
        head.count_rows(usable),
        {scorer.name: count for scorer, count in zip(scorers, counts, strict=True)},
    )


def _counts(head: lance.LanceDataset, usable: str, conditions: Sequence[str]) -> list[int]:
    """How many rows meet each condition."""
    rows = _rows_where(head, usable, conditions)
    return [pc.sum(rows[_column(number)]).as_py() or 0 for number in range(len(conditions))]


def _rows_where(
    head: lance.LanceDataset, usable: str, conditions: Sequence[str], columns: Sequence[str] = ()
) -> pa.Table:
    """Find the rows that meet any condition (one for each scorer), in one pass over the table.

    Args:
        head: the table.
        usable: condition in SQL that must hold besides.
        conditions: conditions in SQL.
        columns: columns to read.

    Returns:
        `_rowid`, the columns, and for each condition whether it holds (or null), named by `_column`.
    """
    projections = {name: name for name in columns} | {_column(n): condition for n, condition in enumerate(conditions)}
    any_of = " or ".join(f"({condition})" for condition in conditions)
    return head.scanner(columns=projections, filter=f"({any_of}) and {usable}", with_row_id=True).to_table()


def _with_changed(lacking: pa.Table, head: lance.LanceDataset, count: int, changed: Mapping[int, pa.Array]) -> pa.Table:
    """Rows that lack cells, and those whose other columns changed.

    Args:
        lacking: see `_rows_where`.
        head: the table.
        count: number of conditions.
        changed: row ids to compute again, by the number of the scorer.
    """
    ids = pc.unique(pa.chunked_array([*changed.values()], pa.uint64()))
    new = ids.filter(pc.invert(pc.is_in(ids, lacking["_rowid"])))
    if len(new):
        more = rows_by_id(head, pa.chunked_array([new]), READ).select([*READ, "_rowid"])
        for number in range(count):
            more = more.append_column(_column(number), pa.nulls(more.num_rows, pa.bool_()))
        lacking = pa.concat_tables([lacking.select(more.schema.names), more])
    for number, row_ids in changed.items():
        place, name = lacking.schema.get_field_index(_column(number)), _column(number)
        either = pc.or_(pc.fill_null(lacking[name], False), pc.is_in(lacking["_rowid"], row_ids))
        lacking = lacking.set_column(place, name, either)
    return lacking


def _column(number: int) -> str:
    return f"condition_{number}"


def _stale(step: StepContext, scorer: Scorer, outside: Sequence[int]) -> str:
    """A condition: missing cells, and all cells of rows written from outside, because nobody knows whose they are."""
    lacks = f"({scorer.rev_column} is null or {scorer.rev_column} <> '{scorer.revision}')"
    return f"{lacks} or {written_at(outside)}" if outside else f"{lacks}{_since(step, scorer)}"


def _since(step: StepContext, scorer: Scorer) -> str:
    """A condition: rows that changed since this revision last saw every row."""
    before = step.last_record(scorer.asset)
    if (
        before is None
        or before.code_version != step.code_versions[scorer.asset]
        or IMAGES not in before.progress.inputs
    ):
        return ""
    return f" and _row_last_updated_at_version > {before.progress.inputs[IMAGES]}"


def _by_scorers(
    lacking: pa.Table, scorers: Sequence[Scorer], settings: ScoreSettings
) -> dict[tuple[Scorer, ...], pa.Table]:
    """The rows by the scorers whose cells they lack, so that each image is read once for all of them."""
    lacking = lacking.sort_by("_rowid")
    rows = lacking.select(["_rowid", "sha256", "num_bytes"])
    lacks = np.zeros(len(rows), dtype=np.uint64)  # bit n: the n-th scorer
    for number in range(len(scorers)):
        lacks[pc.fill_null(lacking[_column(number)], False).to_numpy()] |= np.uint64(1 << number)
    work = {}
    for bits in np.unique(lacks):
        chosen = [scorer for number, scorer in enumerate(scorers) if int(bits) >> number & 1]
        for alike in _alike(chosen, settings):
            work[alike] = rows.filter(lacks == bits)
    return work


def needs(scorer: Scorer, settings: ScoreSettings) -> Resources:
    """What one worker of a scorer takes of the cluster."""
    return settings.resources.get(scorer.name, scorer.resources)


def _alike(scorers: Sequence[Scorer], settings: ScoreSettings) -> list[tuple[Scorer, ...]]:
    """Group scorers by the resources of their workers; scorers of one group share a worker."""
    groups: list[list[Scorer]] = []
    for scorer in scorers:
        same = [group for group in groups if needs(group[0], settings) == needs(scorer, settings)]
        if same:
            same[0].append(scorer)
        else:
            groups.append([scorer])
    return [tuple(group) for group in groups]
