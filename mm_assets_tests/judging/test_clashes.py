"""Keys beside more than one value, in columns of several chunks, with nulls, and empty."""

import pyarrow as pa

from mm_assets.judging.clashes import clashing


def column(*chunks: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array(list(chunks), pa.string())


def test_rows_whose_key_has_several_values() -> None:
    keys = column(["a", "b"], ["a", "c", "b"])
    values = column(["x", "y"], ["z", "x", "y"])
    assert clashing(keys, values).tolist() == [True, False, True, False, False]


def test_a_null_key_or_value_disagrees_with_nothing() -> None:
    keys = column(["a", "a", None, None, "b"], ["b", "b"])
    values = column(["x", None, "x", "y", "x"], [None, "y"])
    assert clashing(keys, values).tolist() == [False, False, False, False, True, False, True]


def test_empty_columns() -> None:
    assert clashing(column(), column()).tolist() == []
    assert clashing(column([None]), column([None])).tolist() == [False]
