"""Compaction: small fragments are put together until a file has about as many bytes as it should.

Row ids, the versions at which rows were created and changed, and every cell stay as they are. Rows are streamed, so
memory does not grow with the size of a file.
"""

from collections.abc import Callable
from dataclasses import dataclass

import lance
from lance.optimize import Compaction, CompactionTask, RewriteResult

from mm_assets.engines.lake.commits import is_conflict
from mm_assets.engines.lake.files import DATA, Weights, files_of, remove_files, stem_of
from mm_assets.engines.lake.tables import Lake

# A fragment of this share of the wanted bytes is left alone: rows would be written again and again otherwise.
FULL = 0.5
# So many of its rows removed, a full fragment is written anew without them.
MAX_REMOVED = 0.1
# What one batch of rows takes while it is copied.
BATCH_BYTES, BATCH_ROWS = 4 * 2**20, 8192
# Times that the rest of a table is planned again after another writer came first.
TRIES = 3


@dataclass(frozen=True)
class Compacted:
    """What a compaction did: fragments that went and came, and whether a running writer kept it from the rest."""

    removed: int = 0
    added: int = 0
    skipped: bool = False


def compact(
    tables: Lake,
    table: str,
    target_bytes: int,
    log: Callable[[str], None],
    begin: Callable[[], None] = lambda: None,
) -> Compacted:
    """Bring the files of a table to about `target_bytes` each, one commit for each new file; `begin` is called before.

    A commit for which another writer came first is given up, with the file that it was for; the rest is planned anew.
    """
    removed = added = 0
    for _ in range(TRIES):
        ds, tasks = _planned(tables, table, target_bytes, begin)
        conflict = False
        for number, task in enumerate(tasks, start=1):
            log(f"{table}: compaction {number} of {len(tasks)}, of {len(task.fragments)} fragments")
            done = _compacted(tables, ds, table, task)
            conflict |= done is None
            if done is not None:
                removed, added = removed + done[0], added + done[1]
        if not conflict:
            return Compacted(removed, added)
    return Compacted(removed, added, skipped=True)


def _planned(
    tables: Lake, table: str, target_bytes: int, begin: Callable[[], None]
) -> tuple[lance.LanceDataset, list[CompactionTask]]:
    """The table and what is to be done to it, after it was told that it begins."""
    ds = tables.open(table)
    tasks = _plan(tables, ds, table, target_bytes)
    if tasks:
        begin()
        now = tables.open(table)
        if now.version != ds.version:  # the lake's history is a table too, which that has added a row to
            return now, _plan(tables, now, table, target_bytes)
    return ds, tasks


def _plan(tables: Lake, ds: lance.LanceDataset, table: str, target_bytes: int) -> list[CompactionTask]:
    weights = Weights(files_of(tables, table))
    full, rows, num_bytes = [], 0, 0
    for fragment in (item.metadata for item in ds.get_fragments()):
        size = weights.of(fragment)
        if size >= FULL * target_bytes and _removed_rows(fragment) <= MAX_REMOVED * fragment.physical_rows:
            full.append(fragment.id)
        else:
            rows, num_bytes = rows + fragment.physical_rows, num_bytes + size
    if not rows:
        return []
    row_bytes = max(num_bytes / rows, 1)
    options = {
        "target_rows_per_fragment": max(1, round(target_bytes / row_bytes)),
        "batch_size": max(1, min(BATCH_ROWS, round(BATCH_BYTES / row_bytes))),
        "materialize_deletions_threshold": MAX_REMOVED,
        "excluded_fragment_ids": full,
    }
    return Compaction.plan(ds, options).tasks


def _removed_rows(fragment: lance.FragmentMetadata) -> int:
    return fragment.deletion_file.num_deleted_rows if fragment.deletion_file else 0


def _compacted(tables: Lake, ds: lance.LanceDataset, table: str, task: CompactionTask) -> tuple[int, int] | None:
    """Fragments that went and came; None where another writer came first."""
    result = task.execute(ds)
    try:
        metrics = Compaction.commit(tables.open(table), [result])
    except OSError as error:
        if not is_conflict(error):
            raise
        _take_back(tables, table, result)
        return None
    return metrics.fragments_removed, metrics.fragments_added


def _take_back(tables: Lake, table: str, result: RewriteResult) -> None:
    """Remove the files of a commit that was refused, unless it was made after all (a store's answer can get lost)."""
    stems = {stem_of(file) for fragment in result.new_fragments for file in fragment.files}
    newest = tables.open(table)
    since = [item["version"] for item in newest.versions() if item["version"] > result.read_version]
    for ds in (tables.open(table, version) for version in since):
        if any(stem_of(file) in stems for fragment in ds.get_fragments() for file in fragment.metadata.files):
            return
    mine = [path for path in files_of(tables, table) if _is_of(path, stems)]
    remove_files(tables, table, mine)


def _is_of(path: str, stems: set[str]) -> bool:
    parts = path.split("/")
    return parts[0] == DATA and len(parts) > 1 and parts[1].removesuffix(".lance") in stems
