"""Compute the cells that are missing, on Ray, and write them into the table in place, one commit per batch."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.lance_tables import LakeTables, add_columns, update_cells
from mm_assets.engines.progress import Progress
from mm_assets.engines.ray_tasks import Cluster
from mm_assets.images import ImageError, decode
from mm_assets.ingest.tables import IMAGES
from mm_assets.lineage.refs import Final, LanceRef, RefusalError, Step
from mm_assets.score.duplicates import GROUPING_REVISION, components, group_names
from mm_assets.score.scorers import Scorer
from mm_assets.settings import PILLOW_MAX_PIXELS, Resources, ScoreSettings

NEAR_DUPLICATES = "scores/near_duplicates"
COMMIT_TRIES = 10
# Rows that a worker decodes before it hands back their scores.
PIECE_ROWS = 256

GROUP_FIELDS = [
    pa.field("group_id", pa.string()),
    pa.field("first_group_id", pa.string()),
    pa.field("near_duplicates_rev", pa.string()),
]


class ImageScorer:
    """Reads images by row id and runs scorers on each; runs as a Ray actor."""

    def __init__(self, tables: LakeTables, ref: LanceRef, scorers: list[Scorer]) -> None:
        self._images, self._scorers = tables.open_at(ref), scorers

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Cells of one piece: `_rowid`, `sha256`, and every column of the scorers."""
        ids = rows["_rowid"].to_pylist()
        blobs = self._images.read_blobs("image", ids=ids)
        cells = [self._cells(data) for _, data in blobs]
        fields = [field for scorer in self._scorers for field in scorer.fields()]
        columns = {field.name: pa.array([cell[field.name] for cell in cells], field.type) for field in fields}
        return pa.table({"_rowid": rows["_rowid"], "sha256": rows["sha256"], **columns})

    def _cells(self, data: bytes) -> dict[str, Any]:
        cells: dict[str, Any] = {}
        try:
            image, _ = decode(data, PILLOW_MAX_PIXELS)  # ingest held it to the limits
        except ImageError as error:
            return {name: value for scorer in self._scorers for name, value in _failed(scorer, error).items()}
        for scorer in self._scorers:
            cells |= _score(scorer, image)
        return cells


def _score(scorer: Scorer, image: Any) -> dict[str, Any]:  # noqa: ANN401  (a PIL image)
    try:
        values = scorer.function(image.copy())  # a scorer may change its image, and others follow
        missing = set(scorer.columns) ^ set(values)
        if missing:
            raise KeyError(f"returned {sorted(values)}, not {sorted(scorer.columns)}")
        values = {name: pa.scalar(value, scorer.columns[name]).as_py() for name, value in values.items()}
    except Exception as error:  # noqa: BLE001  (a scorer may raise anything; the cell keeps it)
        return _failed(scorer, error)
    return {**values, scorer.rev_column: scorer.revision, scorer.error_column: None}


def _failed(scorer: Scorer, error: Exception) -> dict[str, Any]:
    nulls = dict.fromkeys(scorer.columns)
    return {**nulls, scorer.rev_column: scorer.revision, scorer.error_column: f"{type(error).__name__}: {error}"}


def compute_scores(
    step: Step, tables: LakeTables, cluster: Cluster, scorers: list[Scorer], settings: ScoreSettings
) -> dict[str, Final]:
    """Fill the cells that the chosen scorers have not computed at their revision.

    Each image is read once for all scorers that take the same resources.

    Returns:
        What each scorer's asset says of itself.
    """
    pinned = step.ref("image_table")
    head = _with_columns(step, tables.open(IMAGES), scorers)
    work = _missing(step, head, tables.open_at(pinned), scorers, settings)
    total = sum(rows.num_rows for rows in work.values())
    progress = Progress("images", total, step.log)
    tally: dict[str, dict[str, int]] = {s.name: {"rows_computed": 0, "rows_failed": 0} for s in scorers}
    wrote = {scorer.name for chosen in work for scorer in chosen}
    left = total
    for number, (chosen, done) in enumerate(_scored(tables, cluster, pinned, work, settings, progress), start=1):
        _count(tally, chosen, done)
        left -= done.num_rows
        final = left == 0
        finals = {s.asset: _final(tally, s, pinned, tables) for s in scorers if s.name in wrote} if final else None
        assets = [s.asset for s in (scorers if final else chosen) if s.name in wrote]
        write_cells(tables, done, step.properties(assets, number, finals))
    return {s.asset: _final(tally, s, pinned, tables) for s in scorers}


def _scored(
    tables: LakeTables,
    cluster: Cluster,
    pinned: LanceRef,
    work: Mapping[tuple[Scorer, ...], pa.Table],
    settings: ScoreSettings,
    progress: Progress,
) -> Iterator[tuple[tuple[Scorer, ...], pa.Table]]:
    """Cells of one batch after the other, with the scorers that computed them."""
    for chosen, rows in work.items():
        batches = [_slices(batch, PIECE_ROWS) for batch in _slices(rows, settings.batch_rows)]
        arguments, needs = (tables, pinned, list(chosen)), _needs(chosen[0], settings)
        done = cluster.map_batches(ImageScorer, arguments, batches, lambda piece: progress.add(len(piece)), needs=needs)
        for cells in done:
            yield chosen, pa.concat_tables(cells)


def _needs(scorer: Scorer, settings: ScoreSettings) -> Resources:
    return settings.resources.get(scorer.name, Resources())


def _alike(scorers: list[Scorer], settings: ScoreSettings) -> list[tuple[Scorer, ...]]:
    """Scorers by what they take of the cluster: those that take the same share a worker."""
    groups: list[list[Scorer]] = []
    for scorer in scorers:
        same = [group for group in groups if _needs(group[0], settings) == _needs(scorer, settings)]
        if same:
            same[0].append(scorer)
        else:
            groups.append([scorer])
    return [tuple(group) for group in groups]


def _slices(rows: pa.Table, size: int) -> list[pa.Table]:
    return [rows.slice(start, size) for start in range(0, rows.num_rows, size)]


def _with_columns(step: Step, head: lance.LanceDataset, scorers: list[Scorer]) -> lance.LanceDataset:
    for scorer in scorers:
        for field in scorer.fields():
            if field.name in head.schema.names and head.schema.field(field.name).type != field.type:
                raise RefusalError(
                    f"{scorer.asset}: column {field.name} of images.lance is {head.schema.field(field.name).type}, the "
                    f"scorer gives {field.type}: give the column another name"
                )
    new = {scorer: [field for field in scorer.fields() if field.name not in head.schema.names] for scorer in scorers}
    fields = [field for found in new.values() for field in found]
    if not fields:
        return head
    return add_columns(head, fields, step.properties([scorer.asset for scorer, found in new.items() if found], 0))


def _missing(
    step: Step,
    head: lance.LanceDataset,
    pinned: lance.LanceDataset,
    scorers: list[Scorer],
    settings: ScoreSettings,
) -> dict[tuple[Scorer, ...], pa.Table]:
    """Rows to compute, by the set of scorers that they lack; only rows that the pinned version has."""
    known = pinned.scanner(columns=[], with_row_id=True).to_table()["_rowid"]
    lacking: dict[tuple[int, str], list[Scorer]] = defaultdict(list)
    for scorer in scorers:
        rev = scorer.rev_column
        stale = f"error is null and ({rev} is null or {rev} <> '{scorer.revision}'){_since(step, scorer)}"
        rows = head.scanner(columns=["sha256"], filter=stale, with_row_id=True).to_table()
        rows = rows.filter(pc.is_in(rows["_rowid"], known))
        for key in zip(rows["_rowid"].to_pylist(), rows["sha256"].to_pylist(), strict=True):
            lacking[key].append(scorer)
    groups: dict[tuple[Scorer, ...], list[tuple[int, str]]] = defaultdict(list)
    for key, chosen in sorted(lacking.items(), key=lambda item: item[0]):
        for alike in _alike(chosen, settings):
            groups[alike].append(key)
    return {chosen: _rows(keys) for chosen, keys in groups.items()}


def _since(step: Step, scorer: Scorer) -> str:
    """Look only at rows that changed since this revision last saw every row."""
    before = step.last_record(scorer.asset)
    if before is None or before.code_version != step.code_versions[scorer.asset] or IMAGES not in before.watermarks:
        return ""
    return f" and _row_last_updated_at_version > {before.watermarks[IMAGES]}"


def _rows(keys: Iterable[tuple[int, str]]) -> pa.Table:
    ids, digests = zip(*keys, strict=True)
    return pa.table({"_rowid": pa.array(ids, pa.uint64()), "sha256": pa.array(digests, pa.string())})


def write_cells(tables: LakeTables, cells: pa.Table, properties: dict[str, str]) -> lance.LanceDataset:
    """Write cells at the table's newest version, but for rows whose bytes changed since they were read.

    Raises:
        OSError: others kept committing to the same fragments, `COMMIT_TRIES` times.
    """
    for _ in range(COMMIT_TRIES - 1):
        try:
            return _write_cells(tables, cells, properties)
        except OSError as error:  # Lance has a class for some conflicts, and OSError for the others
            if "conflict" not in str(error).lower():
                raise
    return _write_cells(tables, cells, properties)


def _write_cells(tables: LakeTables, cells: pa.Table, properties: dict[str, str]) -> lance.LanceDataset:
    head = tables.open(IMAGES)
    now = head.scanner(columns=["sha256"], with_row_id=True).to_table()
    positions = pc.index_in(cells["_rowid"], now["_rowid"])
    same = pc.fill_null(pc.equal(now["sha256"].take(positions), cells["sha256"]), False)
    return update_cells(head, cells.filter(same).drop_columns(["sha256"]), properties)


def _count(tally: dict[str, dict[str, int]], chosen: Iterable[Scorer], cells: pa.Table) -> None:
    for scorer in chosen:
        failed = cells.num_rows - cells[scorer.error_column].null_count
        tally[scorer.name]["rows_computed"] += cells.num_rows - failed
        tally[scorer.name]["rows_failed"] += failed


def _final(tally: dict[str, dict[str, int]], scorer: Scorer, pinned: LanceRef, tables: LakeTables) -> Final:
    rows = tables.open_at(pinned).count_rows("error is null")
    return Final({"rows": rows, **tally[scorer.name], "columns": list(scorer.columns)}, {IMAGES: pinned.version})


def group_duplicates(step: Step, tables: LakeTables, max_distance: int) -> Final:
    """Give every image its near-duplicate group; only rows whose group changed are written."""
    revision = f"{GROUPING_REVISION}-{max_distance}"
    head = tables.open(IMAGES)
    if "group_id" not in head.schema.names:
        head = add_columns(head, GROUP_FIELDS, step.properties([NEAR_DUPLICATES], 0))
    hashes = tables.open_at(step.ref("scores/phash"))
    rows = hashes.scanner(
        columns=["image_id", "sha256", "phash"], filter="phash is not null", with_row_id=True
    ).to_table()
    rows = rows.sort_by("_rowid")  # row ids rise with age
    before = _groups_before(head, rows)
    roots = components(rows["phash"].to_numpy(), max_distance)
    groups = group_names(rows["image_id"].to_pylist(), roots, before["group_id"].to_pylist())
    first = [old or new for old, new in zip(before["first_group_id"].to_pylist(), groups, strict=True)]
    cells = pa.table(
        {
            "_rowid": rows["_rowid"],
            "sha256": rows["sha256"],
            "group_id": pa.array(groups, pa.string()),
            "first_group_id": pa.array(first, pa.string()),
            "near_duplicates_rev": pa.array([revision] * rows.num_rows, pa.string()),
        }
    )
    changed = np.zeros(rows.num_rows, dtype=bool)
    for name in ("group_id", "first_group_id", "near_duplicates_rev"):
        changed |= ~pc.fill_null(pc.equal(cells[name], before[name]), False).to_numpy()
    computed = int(changed.sum())
    final = Final({"rows": rows.num_rows, "rows_computed": computed, "groups": len(set(groups))})
    if not computed:
        return final
    properties = step.properties([NEAR_DUPLICATES], 1, {NEAR_DUPLICATES: final})
    write_cells(tables, cells.filter(pa.array(changed)), properties)
    return final


def _groups_before(head: lance.LanceDataset, rows: pa.Table) -> pa.Table:
    names = [field.name for field in GROUP_FIELDS]
    table = head.scanner(columns=names, with_row_id=True).to_table()
    return table.take(pc.index_in(rows["_rowid"], table["_rowid"]))
