"""Cells: what a scorer gives, of any Arrow type, or the error of what does not fit."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from mm_assets.scoring import FunctionScorer
from mm_assets.stages.score.cells import columns_of, digest_of, failed, to_cell

VECTOR = pa.list_(pa.float32(), 3)
PERSON = pa.struct([("name", pa.string()), ("box", VECTOR)])


def own(kind: pa.DataType) -> FunctionScorer:
    return FunctionScorer("own", "1", {"x": kind}, lambda _: {})


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (VECTOR, np.arange(3), [0.0, 1.0, 2.0]),
        (VECTOR, torch.arange(3), [0.0, 1.0, 2.0]),
        (VECTOR, (1, 2, 3), [1.0, 2.0, 3.0]),
        (pa.float32(), np.float32(0.5), 0.5),
        (pa.int32(), np.float64(3.0), 3),
        (pa.float32(), torch.tensor(0.5), 0.5),
        (pa.string(), "hé", "hé"),
        (PERSON, {"name": "a", "box": np.ones(3)}, {"name": "a", "box": [1.0, 1.0, 1.0]}),
        (PERSON, {"name": "a"}, {"name": "a", "box": None}),
        (pa.list_(PERSON), [{"name": "a"}, None], [{"name": "a", "box": None}, None]),
        (pa.large_list(pa.string()), [], []),
        (pa.binary(), b"x", b"x"),
        *((kind, None, None) for kind in (VECTOR, PERSON, pa.list_(PERSON), pa.int32())),
    ],
    ids=str,
)
def test_a_value_of_any_type(kind: pa.DataType, value: Any, expected: Any) -> None:
    cell = to_cell(own(kind), {"x": value})
    assert cell.error is None
    columns = columns_of(own(kind), [cell, failed("why")], ["", ""])
    assert (columns["x"].type, columns["x"].to_pylist()) == (kind, [expected, None])
    assert columns["own_rev"].to_pylist() == ["1", "1"]
    assert columns["own_error"].to_pylist() == [None, "why"]
    assert "own_read" not in columns  # it reads nothing beside the image


@pytest.mark.parametrize(
    ("kind", "value", "error"),
    [
        (VECTOR, np.arange(4), "Length of item not correct"),
        (VECTOR, np.ones((1, 3)), "Arrow"),
        (VECTOR, 1.0, "Arrow"),
        (VECTOR, {"a": 1}, "{'a': 1} is no list"),
        (pa.int32(), float("nan"), "nan is no int32"),
        (pa.list_(pa.string()), "ab", "'ab' is no list"),
        (PERSON, {"nmae": "a"}, "nmae is no field of struct"),
        (pa.float32(), "x", "Arrow"),
        (pa.float32(), np.arange(2), "Arrow"),
        (pa.string(), 1, "Arrow"),
        (pa.int8(), 300, "Arrow"),
        (pa.int32(), 1.5, "1.5 is no int32"),
    ],
    ids=str,
)
def test_what_is_no_value_of_the_type(kind: pa.DataType, value: Any, error: str) -> None:
    cell = to_cell(own(kind), {"x": value})
    assert cell.values == {}
    assert error in (cell.error or "")


def test_the_digest_tells_values_apart() -> None:
    assert digest_of(["a", None, 1]) == digest_of(["a", None, 1])
    assert len({digest_of(values) for values in (["a"], [None], ["None"], ["a", ""], ["", "a"], [1], ["1"])}) == 7
