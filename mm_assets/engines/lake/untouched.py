"""Rows whose cells are equal in two versions of a table because the same files hold them."""

from collections.abc import Collection

import lance
import numpy as np

from mm_assets.engines.lake.cells import fragments_of


def untouched(before: lance.LanceDataset, now: lance.LanceDataset, columns: Collection[str]) -> np.ndarray:
    """Row ids of the fragments whose columns lie in the same files in both versions.

    Lance never writes to a finished file, so the cells in it are the same.
    """
    same = dict(files_by_fragment(now, columns).items() & files_by_fragment(before, columns).items())
    rows = now.scanner(columns=[], with_row_id=True, with_row_address=True).to_table()
    return rows["_rowid"].to_numpy()[np.isin(fragments_of(rows), list(same))]


def files_by_fragment(ds: lance.LanceDataset, columns: Collection[str]) -> dict[int, frozenset[str]]:
    """The files that hold the columns, by fragment."""
    fields = {field.id() for field in ds.lance_schema.fields() if field.name() in columns}
    return {
        fragment.fragment_id: frozenset(
            file.path for file in fragment.metadata.files if not fields.isdisjoint(file.fields)
        )
        for fragment in ds.get_fragments()
    }
