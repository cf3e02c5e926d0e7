"""Reads the rows that match a filter from many versions of a table, and reads what they share once."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mm_assets.engines.lake.untouched import files_by_fragment
from mm_assets.operations.trace.lake import Row

if TYPE_CHECKING:
    import lance


class Reader:
    """Rows that match a filter, in one version of a table after the other.

    Lance never writes to a file again. So a fragment with the same files and the same removed rows is read once:
        version 4  fragments 0, 1    both are read
        version 5  fragments 0, 1, 2 only 2 is read
        version 6  fragments 0*, 2   0* has another list of removed rows: it is read; 2 is not

    Args:
        condition: the filter.
        columns: to read; the filter's own must be among them.
    """

    def __init__(self, condition: str, columns: Sequence[str]) -> None:
        self._condition, self._columns = condition, list(columns)
        self._rows_by_state: dict[Any, list[Row]] = {}

    def rows(self, ds: "lance.LanceDataset | None") -> list[Row]:
        """The rows of a version, with `_rowid`; [] for one that is not there."""
        if ds is None:
            return []
        states = dict(self._states(ds))
        new = [fragment for fragment in ds.get_fragments() if states[fragment.fragment_id] not in self._rows_by_state]
        if new:
            self._rows_by_state |= {states[fragment.fragment_id]: [] for fragment in new}
            # Without a list of fragments an index is used.
            self._read(ds, states, new if len(new) < len(states) else None)
        return [row for state in states.values() for row in self._rows_by_state[state]]

    def _read(self, ds: "lance.LanceDataset", states: dict[int, Any], fragments: list[Any] | None) -> None:
        rows = ds.scanner(
            columns=self._columns, filter=self._condition, fragments=fragments, with_row_id=True, with_row_address=True
        ).to_table()
        for row in rows.to_pylist():
            self._rows_by_state[states[row.pop("_rowaddr") >> 32]].append(row)

    def _states(self, ds: "lance.LanceDataset") -> Iterator[tuple[int, Any]]:
        files = files_by_fragment(ds, self._columns)
        for fragment in ds.get_fragments():
            number, removed = fragment.fragment_id, fragment.metadata.deletion_file
            yield number, (number, files[number], removed.path(number) if removed else None)
