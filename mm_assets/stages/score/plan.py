"""Which cells a pass of scoring has to compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.history.reuse import outside_since, written_at
from mm_assets.lineage.refs import LanceRef
from mm_assets.lineage.step import StepContext
from mm_assets.settings import Resources, ScoreSettings
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.score.scorers import Scorer


@dataclass(frozen=True)
class Plan:
    """What to compute.

    Args:
        work: rows (`_rowid`, `sha256`, `num_bytes`; oldest first) by the scorers that they lack.
        version: of the image table that the plan was made at.
        rows: usable images of the pinned version.
        failed: cells by scorer that stay as they are, and have failed.
    """

    work: Mapping[tuple[Scorer, ...], pa.Table]
    version: int
    rows: int
    failed: Mapping[str, int] = field(default_factory=dict)


def make_plan(
    step: StepContext,
    head: lance.LanceDataset,
    pinned: LanceRef,
    scorers: Sequence[Scorer],
    settings: ScoreSettings,
    *,
    retry_errors: bool,
) -> Plan:
    """Find the cells that are not computed at their scorer's revision, of images that the pinned version has.

    Args:
        step: what is pinned.
        head: the image table at its newest version.
        pinned: the version of the image table that the scores answer for.
        scorers: those chosen.
        settings: resources by scorer.
        retry_errors: compute cells again that have failed.
    """
    there = usable_at(pinned)
    failed = [has_failed(scorer) for scorer in scorers]
    outside = outside_since(head, *(step.last_record(scorer.asset) for scorer in scorers))
    stale = [_stale(step, scorer, outside.get(scorer.asset, [])) for scorer in scorers]
    if retry_errors:
        stale = [f"({lacks}) or ({error})" for lacks, error in zip(stale, failed, strict=True)]
    lacking = _rows_where(head, there, stale, ["sha256", "num_bytes"])
    counts = [0] * len(scorers) if retry_errors else _counts(head, there, failed)
    return Plan(
        _by_scorers(lacking, scorers, settings),
        head.version,
        head.count_rows(there),
        {scorer.name: count for scorer, count in zip(scorers, counts, strict=True)},
    )


def _counts(head: lance.LanceDataset, there: str, conditions: Sequence[str]) -> list[int]:
    """How many rows meet each condition."""
    rows = _rows_where(head, there, conditions)
    return [pc.sum(rows[_column(number)]).as_py() or 0 for number in range(len(conditions))]


def _rows_where(
    head: lance.LanceDataset, there: str, conditions: Sequence[str], columns: Sequence[str] = ()
) -> pa.Table:
    """Rows that meet any of the conditions (one for each scorer), and which of them, in one pass over the table.

    Args:
        head: the table.
        there: what must hold besides.
        conditions: in SQL.
        columns: to read.

    Returns:
        `_rowid`, the columns, and a boolean (or null) one for each condition: see `_column`.
    """
    wanted = {name: name for name in columns} | {_column(n): condition for n, condition in enumerate(conditions)}
    any_of = " or ".join(f"({condition})" for condition in conditions)
    return head.scanner(columns=wanted, filter=f"({any_of}) and {there}", with_row_id=True).to_table()


def _column(number: int) -> str:
    return f"condition_{number}"


def usable_at(images: LanceRef) -> str:
    """A filter, also of later versions: usable images that a version of the image table has."""
    return f"error is null and _row_created_at_version <= {images.version}"


def is_current(scorer: Scorer) -> str:
    """A filter: the cell is computed at the scorer's revision, be it a value, null or an error."""
    return f"{scorer.rev_column} = '{scorer.revision}'"


def has_failed(scorer: Scorer) -> str:
    """A filter: the cell is computed at the scorer's revision, and is an error."""
    return f"{scorer.error_column} is not null and {is_current(scorer)}"


def _stale(step: StepContext, scorer: Scorer, outside: Sequence[int]) -> str:
    """Cells that are missing, and all of rows that were written outside: whose they are cannot be told."""
    lacks = f"({scorer.rev_column} is null or {scorer.rev_column} <> '{scorer.revision}')"
    return f"{lacks} or {written_at(outside)}" if outside else f"{lacks}{_since(step, scorer)}"


def _since(step: StepContext, scorer: Scorer) -> str:
    """Look only at rows that changed since this revision last saw every row."""
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
    """Rows by the set of scorers that they lack, so that each image is read once for all of them."""
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
    return settings.resources.get(scorer.name, Resources())


def _alike(scorers: Sequence[Scorer], settings: ScoreSettings) -> list[tuple[Scorer, ...]]:
    """Scorers by what they take of the cluster: those that take the same share a worker."""
    groups: list[list[Scorer]] = []
    for scorer in scorers:
        same = [group for group in groups if needs(group[0], settings) == needs(scorer, settings)]
        if same:
            same[0].append(scorer)
        else:
            groups.append([scorer])
    return [tuple(group) for group in groups]
