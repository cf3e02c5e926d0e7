"""List the source; read, decode, hash and store changed objects, on Ray, with one commit per batch."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.lake.cells import commit_cells
from mm_assets.engines.lake.changes import Synced, sync_rows
from mm_assets.engines.lake.commits import commit, commit_writes_asset, commits_after
from mm_assets.engines.lake.rows import replace_rows, rows_by_key
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.source import Source
from mm_assets.engines.workers.batches import cut, gather
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.engines.workers.sandbox import DecodeLimits
from mm_assets.history.opening import open_table
from mm_assets.judging.verdicts import at_most
from mm_assets.lineage.budget import check_budget
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.properties import RUN, inputs_of
from mm_assets.lineage.refs import version_of
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.pace import Pace
from mm_assets.settings import IngestSettings
from mm_assets.stages.ingest.plan import ASSET, LISTED, IngestPlan, make_plan
from mm_assets.stages.ingest.schema import IMAGES_SCHEMA, UPDATED_CELLS
from mm_assets.stages.ingest.tables import IMAGES, OBJECTS, OBJECTS_SCHEMA
from mm_assets.stages.ingest.worker import ImageWriter, Piece

SOURCE = "mm.source"
# A batch is cut into pieces. A worker holds a piece in memory: it has at most so many bytes. Every piece becomes a
# fragment: it has at least so many rows.
PIECE_BYTES, PIECE_ROWS = 64 * 2**20, 128
# How often the table is compared, where other runs write it at the same time.
ROUNDS = 5


def list_objects(step: StepContext, lake: Lake, source: Source, identity: str) -> StepResult:
    """Make `objects.lance` equal to the listing of the source.

    Raises:
        RefusalError: the lake belongs to another source, or the source is empty or cannot be listed.
    """
    listing = source.list(step.log)
    if not listing.num_rows:
        raise RefusalError(f"source (MM_SOURCE): there are no objects in {source.place}")
    ds = open_table(lake, step, OBJECTS, OBJECTS_SCHEMA, [LISTED], {SOURCE: identity})
    if ds.schema.metadata[SOURCE.encode()].decode() != identity:
        raise RefusalError(
            f"the lake {lake.root} belongs to another source: set MM_LAKE to a new folder for this MM_SOURCE"
        )
    done = sync_rows(
        lake,
        OBJECTS,
        "image_id",
        listing,
        lambda so_far: step.properties([LISTED], 1, {LISTED: _listed(listing, so_far)}),
    )
    return _listed(listing, done)


def _listed(listing: pa.Table, done: Synced) -> StepResult:
    fine = listing.filter(pc.is_null(listing["error"]))
    labels = Counter({item["values"].as_py(): item["counts"].as_py() for item in fine["label"].value_counts()})
    return StepResult(
        {
            "rows": listing.num_rows,
            "rows_considered": listing.num_rows,
            "rows_computed": done.written,
            "rows_reused": listing.num_rows - done.written,
            "rows_failed": listing.num_rows - fine.num_rows,
            "rows_removed": done.removed,
            "bytes": pc.sum(fine["size"]).as_py() or 0,
            "labels": _sorted(labels),
        },
        progress=Progress(confirmed_at=done.looked_at),
    )


def store_images(
    step: StepContext,
    lake: Lake,
    cluster: Cluster,
    source: Source,
    settings: IngestSettings,
    *,
    retry_errors: bool = False,
) -> StepResult:
    """Bring `images.lance` up to the pinned listing: new and changed objects are read, the rest costs nothing.

    Where another run wrote the table at the same time, the whole table is compared once more at the end.

    Raises:
        BudgetError: more objects are rejected than `ingest.error_budget` allows.
        RefusalError: a run with a newer listing wrote the table meanwhile, other runs kept writing it, or the
            fence of a cleanup came first.
    """
    open_table(lake, step, IMAGES, IMAGES_SCHEMA, [ASSET])
    ingest = _Ingest(step, lake, cluster, source, settings)
    for number in range(ROUNDS):
        ingest.no_other_run = True
        result = ingest.follow(
            make_plan(step, lake, settings, everything=number > 0, retry_errors=retry_errors and number == 0)
        )
        if ingest.no_other_run:
            break
        step.log("another run wrote images.lance meanwhile: comparing it once more")
    else:
        raise RefusalError(
            f"other runs wrote images.lance at the same time, {ROUNDS} times: run it again; nothing is lost"
        )
    failed, rows = result.metadata["rows_failed"], result.metadata["rows"]
    check_budget(ASSET, failed, rows, settings.error_budget, "ingest.error_budget")
    return result


class _Ingest:
    """Follows plans: reads and decodes on Ray, commits batch by batch.

    `no_other_run` turns false when a commit of another run is seen. The record of the materialization then waits until
    the whole table was compared again.
    """

    def __init__(
        self, step: StepContext, lake: Lake, cluster: Cluster, source: Source, settings: IngestSettings
    ) -> None:
        self._step, self._lake, self._cluster = step, lake, cluster
        self._source, self._settings = source, settings
        self._number = 0
        self._others_scanned_to = 0  # up to this version, commits of other runs were looked for
        self.no_other_run = True

    def follow(self, plan: IngestPlan) -> StepResult:
        """Do what the plan says; the last commit carries the record, if no other run wrote and the budget is kept."""
        self._others_scanned_to = plan.version
        step, read = self._step, plan.read
        step.log(f"{read.num_rows:,} of {plan.considered:,} objects to read, {len(plan.removed):,} removed")
        failed, touched = Counter(plan.failed), plan.labels_and_captions.num_rows
        result = _stored(step, plan, failed, touched, self._settings)
        for pieces, last in self._batches(plan):
            for piece in pieces:
                failed.update(piece.failed)
                touched += piece.touched.num_rows
            result = _stored(step, plan, failed, touched, self._settings)
            self._commit(plan, pieces, result if last else None)
        return result

    def _batches(self, plan: IngestPlan) -> Iterator[tuple[list[Piece], bool]]:
        settings, read = self._settings, plan.read
        if plan.empty:
            return
        if not read.num_rows:
            yield [], True
            return
        workers = self._cluster.cpus()
        batches = list(cut(read, settings.batch_rows, read["size"], settings.batch_bytes))
        pieces = [list(cut(batch, _piece_rows(batch, workers), batch["size"], PIECE_BYTES)) for batch in batches]
        limits = DecodeLimits(settings.max_pixels, settings.decode_timeout_s, settings.decode_memory_bytes)
        arguments = (self._lake, self._source, limits, settings.max_bytes)
        items = [piece for batch in pieces for piece in batch]
        done = self._cluster.map_ordered(ImageWriter, arguments, items)
        progress = Pace("images", read.num_rows, self._step.log)
        coming = progress.over(done, lambda piece: piece.objects)
        yield from gather(coming, [len(batch) for batch in pieces], settings.batch_seconds)

    def _properties(self, result: StepResult | None) -> dict[str, str]:
        results = {ASSET: result} if result is not None and self.no_other_run and self._within_budget(result) else None
        return self._step.properties([ASSET], self._number, results)

    def _within_budget(self, result: StepResult) -> bool:
        return at_most(result.metadata["rows_failed"], result.metadata["rows"], self._settings.error_budget)

    def _commit(self, plan: IngestPlan, pieces: list[Piece], result: StepResult | None) -> None:
        """Commit a batch; the last commit (with the record) also writes labels and captions, and removes rows."""
        texts, removed = ([plan.labels_and_captions], plan.removed) if result is not None else ([], [])
        cells = pa.concat_tables([UPDATED_CELLS.empty_table(), *texts, *(piece.touched for piece in pieces)])
        rows = bool(removed) or any(piece.fragments for piece in pieces)
        if cells.num_rows:
            self._number += 1
            commit_cells(self._lake, IMAGES, cells, self._properties(None if rows else result))
        if rows:
            self._commit_rows(plan, pieces, removed, result)

    def _commit_rows(
        self, plan: IngestPlan, pieces: list[Piece], removed: list[str], result: StepResult | None
    ) -> None:
        """Insert the rows of a batch, in place of the rows with the same keys."""
        self._number += 1

        def put(head: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
            self._notice_others(head)
            overtaken = self._overtaken(head, plan, pieces) if not self.no_other_run else None
            unsettled = [piece for piece in pieces if overtaken is None or not overtaken.settles(piece)]
            keys = [key for piece in unsettled for key in piece.keys]
            drop = removed + [key for key in keys if key in (plan.replaced if overtaken is None else overtaken.keys)]
            fragments = [fragment for piece in unsettled for fragment in piece.fragments]
            return replace_rows(head, "image_id", drop, fragments)

        done = commit(self._lake, IMAGES, put, lambda: self._properties(result), written_at=self._others_scanned_to)
        if done is not None:
            self._others_scanned_to = done.version

    def _notice_others(self, head: lance.LanceDataset) -> None:
        """Notice commits of other runs to this asset.

        Raises:
            RefusalError: another run has a newer listing.
        """
        mine = self._step.ref(LISTED)
        for _, properties in commits_after(head, self._others_scanned_to):
            if commit_writes_asset(properties, ASSET) and properties[RUN] != self._step.run_id:
                self.no_other_run = False
                theirs = version_of(inputs_of(properties)[LISTED])
                if theirs > mine.version:
                    raise RefusalError(
                        f"another run is bringing image_table to a newer listing ({OBJECTS} @v{theirs}, this one has "
                        f"@v{mine.version}): it also does the work of this run"
                    )

    def _overtaken(self, head: lance.LanceDataset, plan: IngestPlan, pieces: list[Piece]) -> "_Overtaken":
        keys = [key for piece in pieces for key in piece.keys]
        existing = rows_by_key(head, "image_id", keys, ["source_uri", "etag", "_row_created_at_version"])
        listed = plan.read.filter(pc.is_in(plan.read["image_id"], existing["image_id"]))
        places = pc.index_in(existing["image_id"], listed["image_id"])
        same = pc.greater(existing["_row_created_at_version"], plan.version)
        for name in ("source_uri", "etag"):
            same = pc.and_(same, pc.fill_null(pc.equal(existing[name], listed[name].take(places)), False))
        return _Overtaken(set(existing["image_id"].to_pylist()), set(existing["image_id"].filter(same).to_pylist()))


@dataclass(frozen=True)
class _Overtaken:
    """The rows that other runs inserted while this run read a batch.

    Args:
        keys: keys of the batch that have a row now.
        settled: keys among them whose row another run made meanwhile, from the same object.
    """

    keys: set[str]
    settled: set[str]

    def settles(self, piece: Piece) -> bool:
        """Whether other runs have made all rows of a piece."""
        return self.settled.issuperset(piece.keys)


def _piece_rows(batch: pa.Table, workers: int) -> int:
    """Two pieces for each worker, so that none waits long for the slowest."""
    return max(-(-batch.num_rows // (2 * workers)), min(PIECE_ROWS, -(-batch.num_rows // workers)))


def _stored(
    step: StepContext, plan: IngestPlan, failed: Counter[str], touched: int, settings: IngestSettings
) -> StepResult:
    computed = plan.read.num_rows + plan.labels_and_captions.num_rows
    return StepResult(
        {
            "rows": plan.considered,
            "rows_considered": plan.considered,
            "rows_computed": computed,
            "rows_touched": touched,  # among the computed ones: the same bytes, so nothing else is computed for them
            "rows_reused": plan.considered - computed,
            "rows_failed": failed.total(),
            "rows_removed": len(plan.removed),
            "failed_for": _sorted(failed),
            "limits": settings.limits().model_dump(),
        },
        Progress({OBJECTS: step.ref(LISTED).version}, plan.version, confirmed_at=plan.version),
    )


def _sorted(counts: Counter[Any]) -> dict[str, int]:
    return {str(name): counts[name] for name in sorted(counts, key=str)}
