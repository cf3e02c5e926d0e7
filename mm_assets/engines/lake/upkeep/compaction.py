"""Compaction: small fragments are joined until a file has about the wanted bytes.

Row ids, cells, and the versions at which rows were created and changed stay as they are. Rows are streamed, so memory
does not grow with the size of a file.
"""

from collections.abc import Callable
from dataclasses import dataclass

import lance
from lance.optimize import Compaction, CompactionTask, RewriteResult

from mm_assets.engines.lake.commits import is_conflict
from mm_assets.engines.lake.files import DATA, Weights, files_of, remove_files, stem_of
from mm_assets.engines.lake.tables import Lake

# A fragment with this share of the wanted bytes is full. It stays, or its rows would be rewritten each time.
FULL = 0.5
# A full fragment with more than this share of removed rows is rewritten without them.
MAX_REMOVED = 0.1
# The greatest batch of rows that is copied at once.
BATCH_BYTES, BATCH_ROWS = 4 * 2**20, 8192
# How often a table is planned, where other commits come first.
TRIES = 3


@dataclass(frozen=True)
class Compacted:
    """Fragments that a compaction removed and added; `skipped`: running writers kept it from the rest."""

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
    """Join the small files of a table to about `target_bytes` each, with one commit for each new file.

    Where another commit comes first, ours is given up and its file removed. The rest of the table is then planned anew.

    Args:
        tables: the lake.
        table: its name.
        target_bytes: wanted bytes of a file.
        log: told about progress.
        begin: called before the first commit.
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
    """The table and its tasks; `begin` is called where there are any."""
    ds = tables.open(table)
    tasks = _plan(tables, ds, table, target_bytes)
    if tasks:
        begin()
        now = tables.open(table)
        if now.version != ds.version:  # where the table is the history itself, `begin` added a row to it
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
    """Numbers of removed and added fragments; None where another commit came first."""
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
    """Remove the files of a refused commit, unless a version has them: a store's answer can get lost."""
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
