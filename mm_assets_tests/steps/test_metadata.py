"""Metadata as tables, none of them long."""

from mm_assets.steps.metadata import MAX_COLUMNS, MAX_NAMES, MAX_ROWS, as_metadata


def test_a_confusion_matrix_is_a_table_with_zeros() -> None:
    assert as_metadata({"gym": {"gym": 3}, "a|b": {"a|b": 1, "gym": 2}}).md_str.splitlines() == [
        "|  | a\\|b | gym |",
        "| --- | --- | --- |",
        "| gym | 0 | 3 |",
        "| a\\|b | 1 | 2 |",
    ]


def test_a_wide_matrix_is_left_to_the_picture() -> None:
    labels = [f"label {number:02}" for number in range(MAX_COLUMNS + 1)]
    narrow = labels[:MAX_COLUMNS]
    assert as_metadata({label: dict.fromkeys(narrow, 1) for label in labels}).md_str.count("\n") == len(labels) + 1
    assert (
        as_metadata({label: dict.fromkeys(labels, 1) for label in labels}).md_str == "13 x 13 values: see the picture."
    )


def test_counts_are_a_table_and_labels_a_line() -> None:
    assert as_metadata({"corrupt": 2}).md_str.splitlines()[-1] == "| corrupt | 2 |"
    assert as_metadata(["gym", "pool"]) == "gym, pool"
    assert as_metadata([0.12345678, 1.0]) == "0.1235, 1"
    assert as_metadata([]) == ""


def test_a_label_cannot_become_markup() -> None:
    assert as_metadata({"<img src=x>![a](b)": 2}).md_str.splitlines()[-1] == "| \\<img src=x\\>!\\[a\\](b) | 2 |"


def test_long_tables_and_lists_tell_what_they_leave_out() -> None:
    lines = as_metadata({f"label {number}": number for number in range(MAX_ROWS + 3)}).md_str.splitlines()
    assert len(lines) == 2 + MAX_ROWS + 1
    assert lines[-1] == "| ... and 3 more |  |"
    recall = as_metadata({f"label {number}": {"recall": 0.5} for number in range(300)}).md_str.splitlines()
    assert recall[-1] == "| ... and 260 more |  |"
    assert as_metadata([str(number) for number in range(MAX_NAMES + 2)]).endswith("39, ... and 2 more")


def test_a_table_of_as_many_rows_as_fit_is_whole() -> None:
    assert "more" not in as_metadata({f"label {number}": number for number in range(MAX_ROWS)}).md_str


def test_a_long_curve_is_thinned() -> None:
    table = as_metadata([{"step": step, "loss": 1 / (step + 1)} for step in range(1000)]).md_str.splitlines()
    assert table[0] == "| step | loss |"
    assert table[2:4] == ["| 0 | 1 |", "| 25 | 0.03846 |"]
    assert table[-1] == "| ... and 960 more |  |"
    assert len(table) == 2 + MAX_ROWS + 1


def test_scalars_stay() -> None:
    assert [as_metadata(value) for value in (3, "text", True, 0.5)] == [3, "text", True, 0.5]
