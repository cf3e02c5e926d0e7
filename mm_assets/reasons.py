"""Reasons of rows that were refused, failed or left out: texts `<reason>: <detail>`, which are counted by reason."""

from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

Column = TypeVar("Column", pa.Array, pa.ChunkedArray)


def reasons(column: Column) -> Column:
    """The text before the colon of each, without the line number that an error of a manifest has there."""
    return pc.replace_substring_regex(pc.list_element(pc.split_pattern(column, ":", max_splits=1), 0), " [0-9]+$", "")
