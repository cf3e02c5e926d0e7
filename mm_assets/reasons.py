"""Why a row was refused, has failed or was left out: text of the form `<reason>: <detail>`, counted by its reason."""

from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

Column = TypeVar("Column", pa.Array, pa.ChunkedArray)


def reasons(column: Column) -> Column:
    """What stands before the colon of each, without the number that a line of a manifest has there."""
    return pc.replace_substring_regex(pc.list_element(pc.split_pattern(column, ":", max_splits=1), 0), " [0-9]+$", "")
