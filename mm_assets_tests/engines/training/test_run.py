"""Training on Ray: a worker that is killed is replaced, and goes on from the last epoch."""

import threading
from pathlib import Path

import psutil
import pytest
from ray._private import worker as ray_worker

from mm_assets.chat import assistant_message, user_message
from mm_assets.demo.tiny_llava import build
from mm_assets.engines.lake.images import LanceImages
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import keep_model, local_folder, model_staging
from mm_assets.engines.training.examples import Examples
from mm_assets.engines.training.run import fine_tune
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.settings import TrainSettings
from mm_assets_tests.kit.ray_nodes import below
from mm_assets_tests.kit.steps import ingest

pytestmark = pytest.mark.ray

# Five steps an epoch, as many as are logged together: a training that goes on logs what the other one does.
SETTINGS = TrainSettings(epochs=6, batch_size=5, learning_rate=1e-3, warmup_steps=2)


def examples(tables: Lake) -> Examples:
    images = LanceImages(tables, tables.ref("images", tables.open("images").version))
    ids = sorted(tables.open("images").to_table(columns=["image_id"], filter="error is null")["image_id"].to_pylist())
    words = [[user_message("what?"), assistant_message(f"a {image_id.split('/')[0]}.")] for image_id in ids]
    return Examples([[image_id] for image_id in ids], words, images)


def kill_after_an_epoch(models: Path, killed: list[int], done: threading.Event) -> None:
    """Wait for the first checkpoint, then kill -9 the worker."""
    while not done.wait(0.05):
        if any(models.glob(".training-*/sft/checkpoint_*/trainer/trainer_state.json")):
            for process in below(psutil.Process(), "RayTrainWorker"):  # others may be training beside this one
                process.kill()
                killed.append(process.pid)
            return


def test_a_killed_worker_goes_on_from_the_last_epoch(tables: Lake, cluster: Cluster, few_pictures: Path) -> None:
    ingest(tables, cluster, few_pictures)
    with model_staging(tables) as folder:
        build(folder, seed=0)
        base, _ = keep_model(tables, folder)
    data, none = examples(tables), Examples([], [], examples(tables).images)
    expected = fine_tune(cluster, tables, base, data, none, SETTINGS, print)
    killed: list[int] = []
    done = threading.Event()
    killer = threading.Thread(target=kill_after_an_epoch, args=(Path(tables.root, "models"), killed, done))
    killer.start()
    try:
        found = fine_tune(cluster, tables, base, data, none, SETTINGS, print)
    finally:
        done.set()
        killer.join()
    assert killed
    losses, again = expected.metrics["loss"], found.metrics["loss"]
    assert [step["step"] for step in again] == [step["step"] for step in losses]
    assert [step["loss"] for step in again] == pytest.approx([step["loss"] for step in losses], abs=0.02)
    files = [
        sorted(path.name for path in local_folder(tables, trained.digest).iterdir()) for trained in (expected, found)
    ]
    assert files[0] == files[1]
    assert "model.safetensors" in files[0]
    # Nothing of the trainings is left beside the models.
    assert {path.name for path in Path(tables.root, "models").iterdir()} == {base, expected.digest, found.digest}
    # And none waited for an API server, which an embedded cluster does not have.
    said = [
        log.read_text() for log in Path(ray_worker.global_worker.node.get_logs_dir_path()).glob("train/*controller*")
    ]
    assert said
    assert not any("Failed to stop PlacementGroupCleaner" in text for text in said)
