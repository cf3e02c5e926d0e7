"""Compute missing cells on Ray, and write them into the table in place, with one commit per batch."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from mm_assets.engines.lake.cells import add_columns, commit_cells
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.workers.batches import cut, gather
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.judging.verdicts import at_most
from mm_assets.lineage.budget import BudgetError, check_budget
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.refs import LanceRef
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.pace import Pace
from mm_assets.scoring import Scorer
from mm_assets.settings import ScoreSettings
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets.stages.score.plan import ScorePlan, make_plan, needs
from mm_assets.stages.score.worker import ImageScorer

# Images that a worker reads before it returns their scores.
PIECE_ROWS, PIECE_BYTES = 256, 64 * 2**20


def compute_scores(
    step: StepContext,
    lake: Lake,
    cluster: Cluster,
    scorers: list[Scorer],
    settings: ScoreSettings,
    *,
    retry_errors: bool = False,
) -> dict[str, StepResult]:
    """Fill the cells that the chosen scorers have not computed at their revision.

    Each image is read once for all scorers that take the same resources.

    Returns:
        The result of each scorer's asset.

    Raises:
        RefusalError: a scorer cannot be opened, or its column exists with another type.
        BudgetError: more cells of a scorer failed than its budget allows; it holds the results of the others.
    """
    pinned = step.ref("image_table")
    _add_columns(step, lake, scorers)
    plan = make_plan(step, lake, lake.open(IMAGES), pinned, scorers, settings, retry_errors=retry_errors)
    counts = {scorer.name: _CellCounts(scorer, plan, settings) for scorer in scorers}
    for number, (chosen, cells, last) in enumerate(_scored(step, lake, cluster, pinned, plan, settings), start=1):
        for scorer in chosen:
            counts[scorer.name].add(cells)
        wrote = [counts[s.name] for s in scorers if any(s in group for group in plan.work)]
        results = {one.scorer.asset: one.result(pinned) for one in wrote if one.within_budget}
        assets = [one.scorer.asset for one in wrote if last or one.scorer in chosen]
        commit_cells(lake, IMAGES, cells, step.properties(assets, number, results if last else None))
    return _judged(list(counts.values()), pinned)


def _add_columns(step: StepContext, lake: Lake, scorers: list[Scorer]) -> None:
    names = lake.open(IMAGES).schema
    for scorer in scorers:
        for field in scorer.fields():
            if field.name in names.names and names.field(field.name).type != field.type:
                raise RefusalError(
                    f"{scorer.asset}: column {field.name} of images.lance is {names.field(field.name).type}, the "
                    f"scorer gives {field.type}: give the column another name"
                )
    new = [scorer.asset for scorer in scorers if any(field.name not in names.names for field in scorer.fields())]
    fields = [field for scorer in scorers for field in scorer.fields()]
    if new:
        commit(lake, IMAGES, lambda ds: add_columns(ds, fields), step.properties(new, 0))


def _scored(
    step: StepContext, lake: Lake, cluster: Cluster, pinned: LanceRef, plan: ScorePlan, settings: ScoreSettings
) -> Iterator[tuple[tuple[Scorer, ...], pa.Table, bool]]:
    """The cells of each batch, the scorers that computed them, and whether the batch is the last."""
    left = sum(rows.num_rows for rows in plan.work.values())
    progress = Pace("images", left, step.log)
    for chosen, rows in plan.work.items():
        batches = cut(rows, settings.batch_rows, rows["num_bytes"], settings.batch_bytes)
        pieces = [list(cut(batch, _piece_rows(chosen), batch["num_bytes"], PIECE_BYTES)) for batch in batches]
        items = [piece for batch in pieces for piece in batch]
        takes = needs(chosen[0], settings)
        arguments = (lake, pinned, "cuda" if takes.gpus else "cpu", list(chosen))
        done = cluster.map_ordered(ImageScorer, arguments, items, needs=takes)
        counts = [len(batch) for batch in pieces]
        for parts, _ in gather(progress.over(done, len), counts, settings.batch_seconds):
            cells = pa.concat_tables(parts)
            left -= cells.num_rows
            yield chosen, cells, left == 0


def _piece_rows(scorers: Sequence[Scorer]) -> int:
    """Rows of a piece: whole batches of the scorer with the largest batches."""
    batch = max(scorer.batch_size for scorer in scorers)
    return max(PIECE_ROWS // batch, 1) * batch


class _CellCounts:
    """Counts the cells of one scorer, computed and failed ones."""

    def __init__(self, scorer: Scorer, plan: ScorePlan, settings: ScoreSettings) -> None:
        self.scorer = scorer
        self._version = plan.version
        self._rows, self._failed = plan.rows, plan.failed[scorer.name]
        self._computed = 0
        self._budget, self._setting = settings.budget(scorer.name)

    def add(self, cells: pa.Table) -> None:
        """Count the cells of a batch."""
        self._computed += cells.num_rows
        self._failed += cells.num_rows - cells[self.scorer.error_column].null_count

    @property
    def within_budget(self) -> bool:
        """Whether the share of failed cells is within the budget."""
        return at_most(self._failed, self._rows, self._budget)

    def check(self) -> None:
        """See `check_budget`."""
        check_budget(self.scorer.asset, self._failed, self._rows, self._budget, self._setting)

    def result(self, pinned: LanceRef) -> StepResult:
        """The result of the scorer's asset."""
        return StepResult(
            {
                "rows": self._rows,
                "rows_considered": self._rows,
                "rows_computed": self._computed,
                "rows_reused": self._rows - self._computed,
                "rows_failed": self._failed,
                "rows_removed": 0,
                "columns": list(self.scorer.columns),
            },
            Progress({IMAGES: pinned.version}, self._version, confirmed_at=self._version),
        )


def _judged(all_counts: list[_CellCounts], pinned: LanceRef) -> dict[str, StepResult]:
    """The results of the scorers' assets.

    Raises:
        BudgetError: a scorer failed too often; it names the first of them, and holds the results of the others.
    """
    results = {one.scorer.asset: one.result(pinned) for one in all_counts if one.within_budget}
    for one in all_counts:
        try:
            one.check()
        except BudgetError as over:
            over.results = results
            raise
    return results
