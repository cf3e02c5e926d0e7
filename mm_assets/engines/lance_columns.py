"""Rows whose cells cannot differ between two versions of a table, told by the files that hold them."""

from collections.abc import Collection

import lance
import numpy as np


def maybe_changed(before: lance.LanceDataset, now: lance.LanceDataset, columns: Collection[str]) -> np.ndarray | None:
    """Row ids of the fragments in which some of the columns have other files than before.

    Lance never writes to a file again: cells of a row that stands in the same file are the same.

    Returns:
        None where that concerns no fragment.
    """
    others = _files(now, columns).items() - _files(before, columns).items()
    if not others:
        return None
    rows = now.scanner(columns=[], with_row_id=True, with_row_address=True).to_table()
    fragments = rows["_rowaddr"].to_numpy() >> np.uint64(32)
    return rows["_rowid"].to_numpy()[np.isin(fragments, [fragment for fragment, _ in others])]


def _files(ds: lance.LanceDataset, columns: Collection[str]) -> dict[int, frozenset[str]]:
    """The files that hold the columns, by fragment."""
    fields = {field.id() for field in ds.lance_schema.fields() if field.name() in columns}
    return {
        fragment.fragment_id: frozenset(
            file.path for file in fragment.metadata.files if not fields.isdisjoint(file.fields)
        )
        for fragment in ds.get_fragments()
    }
