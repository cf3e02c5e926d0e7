"""Previews of the dataset: balance, reasons, an example; of one task and of both."""

import json
from typing import Any

import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.previews import plots
from mm_assets.stages.curate.previews import previews
from mm_assets.stages.curate.tables import SFT, SFT_SCHEMA
from mm_assets_tests.kit.lake_rows import ODD_NAMES, calls_of, materialized, record, write


@pytest.fixture
def balance(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The arguments of every plot of bars: after what it shows, names and parts."""
    return calls_of(monkeypatch, plots, "stacked")


def example(key: str, label: str | None, split: str, answer: str = "a gym", **more: Any) -> dict[str, Any]:
    said = {
        "user": [{"type": "image"}, {"type": "text", "text": "What is it?"}],
        "assistant": [{"type": "text", "text": answer}],
    }
    messages = [{"role": role, "content": content} for role, content in said.items()]
    return {"example_id": key, "task": "label", "label": label, "split": split, "messages": messages, **more}


def out(key: str, reason: str, **more: Any) -> dict[str, Any]:
    return {"example_id": key, "task": "label", "left_out": reason, **more}


def drawn(tables: Lake, *rows: dict[str, Any]) -> dict[str, str]:
    write(tables, SFT, SFT_SCHEMA, rows)
    return previews(materialized(tables, record(tables, "sft_dataset")))


def test_balance_reasons_and_an_example(tables: Lake, balance: list[tuple[Any, ...]]) -> None:
    found = drawn(
        tables,
        example("0", "gym", "test"),
        example("1", "pool", "train", "a | pool\n<b>"),
        example("2", "pool", "train"),
        out("3", "blurred: sharpness 3"),
        out("4", "blurred: sharpness 4"),
        out("5", "no image: corrupt: PNG"),
    )
    assert balance[0][1:3] == (["pool", "gym"], {"train": [2, 0], "validation": [0, 0], "test": [0, 1]})
    assert found["preview_balance"].splitlines()[-1] == "| label | 2 | 0 | 1 |"
    assert found["preview_left_out"].splitlines()[2:] == ["| blurred | 2 |", "| no image | 1 |"]
    assert found["preview_example"].splitlines() == [
        "1",
        "",
        "| role | text |",
        "| --- | --- |",
        "| user | \\[image\\] What is it? |",
        "| assistant | a \\| pool \\<b\\> |",
    ]


def test_each_task_has_its_counts_reasons_and_example(tables: Lake, balance: list[tuple[Any, ...]]) -> None:
    found = drawn(
        tables,
        example("label:0", "gym", "train", task="label"),
        example("caption:0", "gym", "train", "two weights", task="caption"),
        example("caption:1", "pool", "validation", task="caption"),
        out("label:1", "blurred: 3", task="label"),
        out("caption:2", "no caption: none", task="caption"),
    )
    assert balance[0][1:3] == (["gym"], {"train": [1], "validation": [0], "test": [0]})
    assert found["preview_balance"].splitlines()[-2:] == ["| label | 1 | 0 | 0 |", "| caption | 1 | 1 | 0 |"]
    assert "| blurred | 1 | 0 |" in found["preview_left_out"]
    assert "| no caption | 0 | 1 |" in found["preview_left_out"]
    assert found["preview_example"].index("label:0") < found["preview_example"].index("caption:0")
    assert "two weights" in found["preview_example"]


def test_captions_alone_have_no_bars(tables: Lake) -> None:
    found = drawn(tables, example("caption:0", None, "train", task="caption"))
    assert found["preview_balance"].startswith(plots.NOTHING)


def test_many_classes_are_summed(tables: Lake, balance: list[tuple[Any, ...]]) -> None:
    splits = ("train", "validation", "test")
    rows = [example(str(n), f"class {n % 300:03}", splits[n % 3]) for n in range(900)]
    found = drawn(tables, *rows)
    _, names, parts, *_ = balance[0]
    assert (len(names), names[-1]) == (30, "271 others")
    assert sum(sum(values) for values in parts.values()) == 900
    assert len(json.dumps(found)) <= 45_000


def test_nothing_but_reasons_and_nothing_at_all(tables: Lake) -> None:
    assert set(drawn(tables)) == {"preview_balance"}
    assert set(drawn(tables, out("1", "no label"))) == {"preview_balance", "preview_left_out"}


def test_odd_names_keep_the_budget(tables: Lake) -> None:
    rows = [example(f"{n}{name}", name, "train", name * 20) for n, name in enumerate(ODD_NAMES)]
    reasons = [out(f"out {n}", f"{name} {n}: why") for n, name in enumerate(ODD_NAMES * 4)]
    assert len(json.dumps(drawn(tables, *rows, *reasons))) <= 45_000
