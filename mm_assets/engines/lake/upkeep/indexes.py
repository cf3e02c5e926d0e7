"""Indexes on keys: made where they are wanted, and every existing one kept up to date."""

from collections.abc import Callable, Iterator

import lance

from mm_assets.engines.lake.commits import is_conflict
from mm_assets.engines.lake.fields import KEY
from mm_assets.engines.lake.tables import Lake

# Below so many rows a pass over the key is as fast as an index (docs/decisions/0017).
LEAST_ROWS = 100_000
# Each addition of new rows to an index makes a segment; so many segments are merged into one.
MOST_SEGMENTS = 8


def key_of(ds: lance.LanceDataset) -> str:
    """The name of a table's primary key."""
    marks = {name.encode(): value.encode() for name, value in KEY.items()}
    keys = [field.name for field in ds.schema if marks.items() <= (field.metadata or {}).items()]
    if len(keys) != 1:
        raise ValueError(f"{ds.uri} has {len(keys)} keys")
    return keys[0]


def keep_indexes(tables: Lake, table: str, *, create: bool, begin: Callable[[], None] = lambda: None) -> list[str]:
    """Make a missing index on a table's key, and add new rows to every existing index.

    Args:
        tables: the lake.
        table: its name.
        create: whether a missing index is wanted.
        begin: called before each commit.

    Returns:
        A sentence for each thing that was done, or one that says that another commit came first.
    """
    try:
        return list(_kept(tables, table, create=create, begin=begin))
    except OSError as error:
        if not is_conflict(error):
            raise
        return [f"{table}: indexes skipped, the table is being written"]


def _kept(tables: Lake, table: str, *, create: bool, begin: Callable[[], None]) -> Iterator[str]:
    ds = tables.open(table)
    key = key_of(ds)
    existing = {index.name: list(index.field_names) for index in ds.describe_indices()}
    if create and [key] not in existing.values() and ds.count_rows() >= LEAST_ROWS:
        begin()
        ds.create_scalar_index(key, "BTREE")
        yield f"{table}: index on {key} made"
    for name in existing:
        stats = ds.stats.index_stats(name)
        new = stats["num_unindexed_rows"]
        if new:
            merge = stats["num_indices"] if stats["num_indices"] >= MOST_SEGMENTS else 0
            begin()
            ds.optimize.optimize_indices(num_indices_to_merge=merge, index_names=[name])
            yield f"{table}: {new:,} rows added to the index {name}"
