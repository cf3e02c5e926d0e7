"""Training on Ray: a worker that is killed is replaced, and goes on from the last epoch."""

import os
import signal
import threading
from pathlib import Path

import pytest

from mm_assets.chat import assistant_message, user_message
from mm_assets.demo.tiny_llava import build
from mm_assets.engines.lance_images import LanceImages
from mm_assets.engines.lance_tables import LakeTables
from mm_assets.engines.ray_tasks import Cluster
from mm_assets.engines.trainer import Examples, fine_tune
from mm_assets.settings import TrainSettings
from mm_assets_tests.steps import ingest

pytestmark = pytest.mark.ray

SETTINGS = TrainSettings(epochs=4, batch_size=4, learning_rate=1e-3, warmup_steps=2)


def examples(tables: LakeTables) -> Examples:
    images = LanceImages(tables, tables.ref("images", tables.open("images").version))
    ids = sorted(tables.open("images").to_table(columns=["image_id"], filter="error is null")["image_id"].to_pylist())
    words = [[user_message("what?"), assistant_message(f"a {image_id.split('/')[0]}.")] for image_id in ids]
    return Examples([[image_id] for image_id in ids], words, images)


def training_workers() -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                title = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if b"RayTrainWorker" in title:
                found.append(int(folder.name))
    return found


def kill_after_an_epoch(output_dir: Path, killed: list[int], done: threading.Event) -> None:
    """Wait for the first checkpoint, then kill -9 the worker."""
    while not done.wait(0.05):
        if any(output_dir.glob(".ray-train-*/sft/checkpoint_*/trainer/trainer_state.json")):
            killed += training_workers()
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            return


def test_a_killed_worker_goes_on_from_the_last_epoch(
    tables: LakeTables, cluster: Cluster, few_pictures: Path, tmp_path: Path
) -> None:
    ingest(tables, cluster, few_pictures)
    base, undisturbed, disturbed = (tmp_path / name for name in ("base", "undisturbed", "disturbed"))
    for folder in (base, undisturbed, disturbed):
        folder.mkdir()
    build(base, seed=0)
    data, none = examples(tables), Examples([], [], examples(tables).images)
    expected = fine_tune(cluster, base, undisturbed, data, none, SETTINGS, print)
    killed: list[int] = []
    done = threading.Event()
    killer = threading.Thread(target=kill_after_an_epoch, args=(disturbed, killed, done))
    killer.start()
    try:
        found = fine_tune(cluster, base, disturbed, data, none, SETTINGS, print)
    finally:
        done.set()
        killer.join()
    assert killed
    assert [step["step"] for step in found["loss"]] == [step["step"] for step in expected["loss"]]
    losses = [step["loss"] for step in expected["loss"]]
    assert [step["loss"] for step in found["loss"]] == pytest.approx(losses, abs=0.02)
    assert (disturbed / "model.safetensors").is_file()
    assert sorted(path.name for path in disturbed.iterdir()) == sorted(path.name for path in undisturbed.iterdir())
