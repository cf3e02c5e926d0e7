"""Make a small lake that has a past, with whatever release of the project is on the path (see README.md)."""

import os
import shutil
import sys
from pathlib import Path

LABELS = ("bathroom", "beach", "gym", "pool")
# Something for each stage to refuse.
ODD = ("pool/again_0.jpg", "pool/blurred_0.jpg", "pool/bright_0.png", "pool/truncated.jpg")
PER_LABEL = 14
SETTINGS = {
    "MM_BASE__BUILDER": "small_model:build",
    "MM_TRAIN__EPOCHS": "20",
    "MM_TRAIN__BATCH_SIZE": "8",
    # So little a model that was trained on so little is promoted.
    "MM_EVALUATE__MIN_ACCURACY": "0.3",
    "MM_EVALUATE__CONFIDENCE": "0.2",
    "MM_PREDICT__BATCH_ROWS": "16",
    "MM_PREDICT__BATCH_SIZE": "16",
    "MM_UPKEEP__KEEP_LAST": "1",
    "MM_UPKEEP__GRACE_SECONDS": "0",
}


def main(folder: Path) -> None:
    """Draw pictures and materialize everything, twice, with changes and upkeep in between."""
    home = folder / "home"
    home.mkdir(parents=True)
    os.environ.update(SETTINGS, MM_LAKE=str(folder / "lake"), DAGSTER_HOME=str(home), HF_HUB_OFFLINE="1")
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    shutil.copy2(Path(__file__).with_name("small_model.py"), folder)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    spare = draw(folder)
    run("whole_graph")
    change(folder / "drawn_photos", spare)
    for job in ("refresh_without_training", "maintenance", "whole_graph", "whole_graph", "maintenance"):
        run(job)
    shutil.rmtree(spare.parent)
    shutil.rmtree(home / "storage", ignore_errors=True)  # what the steps printed


def draw(folder: Path) -> Path:
    """Some of the drawn pictures, and where all are."""
    from mm_assets.demo.pictures import draw_folder

    drawn, photos = draw_folder(folder / "all" / "drawn"), folder / "drawn_photos"
    for label in LABELS:
        (photos / label).mkdir(parents=True)
        usual = sorted(path for path in (drawn / label).glob(f"{label}_00[01]*.*") if path.suffix in (".jpg", ".webp"))
        for path in usual[:PER_LABEL]:
            shutil.copy2(path, photos / label)
    for name in ("README.txt", *ODD):
        shutil.copy2(drawn / name, photos / name)
    return drawn


def change(photos: Path, drawn: Path) -> None:
    """Two pictures go, two come, one becomes another."""
    (photos / "pool" / "pool_0001.jpg").unlink()
    (photos / "gym" / "gym_0002.jpg").unlink()
    for label in ("beach", "pool"):
        shutil.copy2(drawn / label / f"{label}_0040.png", photos / label)
    shutil.copy2(drawn / "gym" / "gym_0040.png", photos / "gym" / "gym_0003.jpg")


def run(job: str) -> None:
    """A job of the project, to its end."""
    import dagster as dg

    from mm_assets.definitions import build
    from mm_assets.settings import load_settings

    with dg.DagsterInstance.get() as instance:
        assert build(load_settings()).resolve_job_def(job).execute_in_process(instance=instance).success


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
