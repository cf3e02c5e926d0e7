"""Preview of a training: the loss curve, where there is one."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef
from mm_assets.previews import plots
from mm_assets.stages.finetune.previews import previews
from mm_assets_tests.kit.lake_rows import calls_of, materialized


def made(asset: str, **metadata: Any) -> Record:
    ref = LanceRef("models", "id", 1)
    return Record("r", asset, ref, "run", "step", "1", (), metadata, Progress(), datetime.now(UTC), False)


def test_the_loss_and_the_validation_loss_are_drawn(tables: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    found = calls_of(monkeypatch, plots, "curve")
    loss = [{"step": 5, "loss": 2.5}, {"step": 10, "loss": 1.5}]
    assert list(previews(materialized(tables, made("llava_checkpoint", loss=loss, validation_loss=1.75)))) == [
        "preview_loss"
    ]
    previews(materialized(tables, made("llava_checkpoint", loss=loss)))
    assert [points for _, points, *_ in found] == [[(5, 2.5), (10, 1.5)]] * 2
    assert [level for _, _, level, _ in found] == [("validation, at the end", 1.75), None]


@pytest.mark.parametrize(
    "loss",
    [
        [{"step": 1, "loss": 2.5}],
        [{"step": 1, "loss": float("nan")}, {"step": 2, "loss": float("inf")}],
        [{"step": step, "loss": 5 / (step + 1)} for step in range(20_000)],
    ],
)
def test_odd_curves_can_be_drawn(tables: Lake, loss: list[dict[str, float]]) -> None:
    drawn = previews(materialized(tables, made("llava_checkpoint", loss=loss, validation_loss=float("nan"))))
    assert 1_000 < len(drawn["preview_loss"]) <= 10_100


def test_a_base_model_and_a_training_without_steps_show_nothing(tables: Lake) -> None:
    assert previews(materialized(tables, made("base_model"))) == {}
    assert previews(materialized(tables, made("llava_checkpoint", loss=[]))) == {}
