"""What a checkpoint is made by: the words of its tasks and the settings that decide on weights, and nothing else."""

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.registry import get
from mm_assets.engines.training.examples import Trained
from mm_assets.settings import CurateSettings, Resources
from mm_assets_tests.kit.small_lake import CAPTION, LABEL, TRAINING, checkpoint, dataset, photos, store


def test_a_recipe_has_the_words_of_every_task(tables: Lake) -> None:
    store(tables, photos())
    made = dataset(tables, CurateSettings(tasks=[LABEL, CAPTION]))
    found = checkpoint(tables)
    recipe = get(tables, found.metadata["digest"]).recipe
    assert recipe["tasks"] == [LABEL.model_dump(), CAPTION.model_dump()]
    assert recipe["labels"] == ["Terrace/Patio", "pool"]
    assert recipe["sft_dataset"] == made.data_version
    assert found.metadata["train_examples"] == 12


def test_other_resources_train_nothing_again(tables: Lake) -> None:
    store(tables, photos())
    dataset(tables, CurateSettings(tasks=[LABEL]))
    first = checkpoint(tables)
    larger = TRAINING.model_copy(update={"resources": Resources(cpus=2, gpus=1)})

    def twice(*_: object) -> Trained:
        raise AssertionError("trained again")

    assert checkpoint(tables, larger, twice).ref == first.ref
