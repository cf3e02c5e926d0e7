"""Bytes that the commits of a run wrote into a table's data files."""

from collections.abc import Iterator
from pathlib import Path

import lance

from mm_assets.engines.lake.commits import commit_writes_asset, commits_after
from mm_assets.engines.lake.files import DATA
from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.properties import RUN


def bytes_written(tables: Lake, table: str, asset: str, run_id: str, after: int) -> int:
    """Count the bytes of the data files that a run's commits of an asset added to a table above version `after`.

    Large images lie in files of their own beside a fragment's file; they count too.
    """
    ds = tables.open(table)
    mine = [
        version
        for version, properties in commits_after(ds, after)
        if properties.get(RUN) == run_id and commit_writes_asset(properties, asset)
    ]
    return sum(
        _size(tables, table, file) for version in mine for file in _new_files(ds.read_transaction(version).operation)
    )


def _new_files(operation: lance.LanceOperation.BaseOperation) -> Iterator[lance.fragment.DataFile]:
    if isinstance(operation, lance.LanceOperation.Update):
        for fragment in operation.new_fragments:
            yield from fragment.files
        if operation.fields_modified:  # the cells of a fragment are its newest file
            yield from (fragment.files[-1] for fragment in operation.updated_fragments)
    elif isinstance(operation, lance.LanceOperation.Merge):
        for fragment in operation.fragments:
            if fragment.row_id_meta is None:  # rows that were not there before
                yield from fragment.files


def _size(tables: Lake, table: str, file: lance.fragment.DataFile) -> int:
    beside = tables.place_of(table).below(f"{DATA}/{Path(file.path).stem}")
    return (file.file_size_bytes or 0) + sum(item.num_bytes for _, item in beside.files())
