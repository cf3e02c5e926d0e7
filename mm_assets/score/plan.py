"""Which cells a pass of scoring has to compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import lance
import numpy as np
import pyarrow as pa

from mm_assets.ingest.tables import IMAGES
from mm_assets.lineage.refs import LanceRef, Step
from mm_assets.score.scorers import Scorer
from mm_assets.settings import Resources, ScoreSettings


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
    step: Step,
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
    there = f"error is null and _row_created_at_version <= {pinned.version}"
    lacking = [_lacking(step, head, there, scorer, retry_errors=retry_errors) for scorer in scorers]
    failed = {scorer.name: 0 if retry_errors else _failed(head, there, scorer) for scorer in scorers}
    return Plan(_by_scorers(lacking, scorers, settings), head.version, head.count_rows(there), failed)


def _failed(head: lance.LanceDataset, there: str, scorer: Scorer) -> int:
    count: int = head.count_rows(f"{there} and {_current(scorer)} and {scorer.error_column} is not null")
    return count


def _current(scorer: Scorer) -> str:
    return f"{scorer.rev_column} = '{scorer.revision}'"


def _lacking(step: Step, head: lance.LanceDataset, there: str, scorer: Scorer, *, retry_errors: bool) -> pa.Table:
    rev = scorer.rev_column
    conditions = [f"({rev} is null or {rev} <> '{scorer.revision}'){_since(step, scorer)}"]
    if retry_errors:
        conditions.append(f"({_current(scorer)} and {scorer.error_column} is not null)")
    stale = f"{there} and ({' or '.join(conditions)})"
    return head.scanner(columns=["sha256", "num_bytes"], filter=stale, with_row_id=True).to_table()


def _since(step: Step, scorer: Scorer) -> str:
    """Look only at rows that changed since this revision last saw every row."""
    before = step.last_record(scorer.asset)
    if before is None or before.code_version != step.code_versions[scorer.asset] or IMAGES not in before.watermarks:
        return ""
    return f" and _row_last_updated_at_version > {before.watermarks[IMAGES]}"


def _by_scorers(
    lacking: Sequence[pa.Table], scorers: Sequence[Scorer], settings: ScoreSettings
) -> dict[tuple[Scorer, ...], pa.Table]:
    """Rows by the set of scorers that they lack, so that each image is read once for all of them."""
    rows = pa.concat_tables(lacking)
    ids, first = np.unique(rows["_rowid"].to_numpy(), return_index=True)
    rows = rows.take(first)
    lacks = np.zeros(len(ids), dtype=np.uint64)  # bit n: the n-th scorer
    for number, found in enumerate(lacking):
        lacks[np.searchsorted(ids, found["_rowid"].to_numpy())] |= np.uint64(1 << number)
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
