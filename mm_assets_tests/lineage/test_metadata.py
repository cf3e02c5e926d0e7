"""Metadata as tables."""

from mm_assets.lineage.metadata import MAX_ROWS, shown


def test_a_confusion_matrix_is_a_table_with_zeros() -> None:
    assert shown({"gym": {"gym": 3}, "a|b": {"a|b": 1, "gym": 2}}).md_str.splitlines() == [
        "|  | a\\|b | gym |",
        "| --- | --- | --- |",
        "| gym | 0 | 3 |",
        "| a\\|b | 1 | 2 |",
    ]


def test_counts_are_a_table_and_labels_a_line() -> None:
    assert shown({"corrupt": 2}).md_str.splitlines()[-1] == "| corrupt | 2 |"
    assert shown(["gym", "pool"]) == "gym, pool"
    assert shown([0.12345678, 1.0]) == "0.1235, 1"


def test_a_long_curve_is_thinned() -> None:
    table = shown([{"step": step, "loss": 1 / (step + 1)} for step in range(1000)]).md_str.splitlines()
    assert table[0] == "| step | loss |"
    assert table[2] == "| 0 | 1 |"
    assert len(table) <= MAX_ROWS + 2


def test_scalars_stay() -> None:
    assert [shown(value) for value in (3, "text", True, 0.5)] == [3, "text", True, 0.5]
