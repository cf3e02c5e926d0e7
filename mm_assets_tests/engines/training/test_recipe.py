"""What TRL and PEFT are told: the settings' numbers, and what the model's family asks for."""

from pathlib import Path

import pytest

from mm_assets.engines.training.families import FAMILIES, LLAVA_NEXT, Family, family_of
from mm_assets.engines.training.recipe import adapter, arguments
from mm_assets.settings import Resources, TrainSettings

SETTINGS = TrainSettings(epochs=2, batch_size=3, learning_rate=1e-3, lora_r=4, lora_exclude="vision.*")


def test_a_family_decides_on_its_targets_and_on_unused_parameters(tmp_path: Path) -> None:
    other = Family(lora_targets="q_proj", leaves_parameters_unused=False)
    assert (adapter(SETTINGS, other).target_modules, adapter(SETTINGS, other).r) == ("q_proj", 4)
    assert adapter(SETTINGS, LLAVA_NEXT).target_modules == "all-linear"
    told = arguments(SETTINGS, other, str(tmp_path))
    assert (told.ddp_find_unused_parameters, told.num_train_epochs, told.per_device_train_batch_size) == (False, 2, 3)


def test_a_family_without_a_row_is_trained_as_llava_next_is() -> None:
    assert family_of("llava_next") is FAMILIES["llava_next"]
    assert family_of("made_up") is LLAVA_NEXT


@pytest.mark.parametrize("gpus", [0, 1])
def test_where_no_gpu_is_taken_the_cpu_computes(gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr("mm_assets.engines.training.recipe.SFTConfig", lambda **given: told.append(given["use_cpu"]))
    arguments(SETTINGS.model_copy(update={"resources": Resources(gpus=gpus)}), LLAVA_NEXT, str(tmp_path))
    assert told == [not gpus]
