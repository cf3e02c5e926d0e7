"""A lake on a disk that is full: `unshare -rm python -m mm_assets_tests.torture.disk_full FOLDER`.

Runs in a mount namespace of its own, where it may mount a small tmpfs without being root, and which takes it away.
Each stage runs with little room, which it is given a little more of after each failure, until it ends; prints what
happened as JSON: what the failures said, and what was wrong with the lake after each and at the end.
"""

import json
import subprocess
import sys
from pathlib import Path

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.folder import FolderSource
from mm_assets_tests.torture.checks import Damage, compared, consistent, done_once, keyed, recorded, versions
from mm_assets_tests.torture.races import quietly
from mm_assets_tests.torture.scene import Scene, furnish
from mm_assets_tests.torture.stages import STAGES, Work

DISK_BYTES = 64 * 2**20
# Room that a stage is given at first, and how much more after each failure.
ROOM_BYTES = 40 * 2**10
PICTURES, CHANGES = 24, 16


def main(folder: Path) -> None:
    """Fill the disk again and again."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)], check=True)
    scene = Scene(folder / "source")
    scene.add(PICTURES)
    source = FolderSource(str(scene.folder))
    full, calm = (Work(Lake(str(place)), source) for place in (disk / "lake", folder / "calm"))
    for work in (full, calm):
        furnish(work.tables)
    said: dict[str, list[str]] = {stage: [] for stage in STAGES}
    damage = Damage()
    for generation in range(2):
        since = versions(full.tables)
        for stage in STAGES:
            _squeezed(full, disk, stage, said, damage)
        quietly(calm)
        damage += compared(full.tables, calm.tables)
        damage += done_once(full.tables, since)
        damage += recorded(full.tables)
        if not generation:
            scene.stir(CHANGES)
    print(json.dumps({"said": said, "damage": vars(damage)}))


def _squeezed(work: Work, disk: Path, stage: str, said: dict[str, list[str]], damage: Damage) -> None:
    """Run a stage with more and more room until it ends."""
    room = ROOM_BYTES
    while True:
        filler = _fill(disk, room)
        before = set(keyed(work.tables, "predictions")[0])  # none of which a failure may take away
        try:
            quietly(work, [stage])
            return
        except Exception as error:  # noqa: BLE001  (whatever it is, it must name the disk)
            said[stage].append(f"{type(error).__name__}: {error}")
        finally:
            filler.unlink()
        damage += consistent(work.tables)
        damage.lost += [f"predictions: {key}" for key in before - set(keyed(work.tables, "predictions")[0])]
        room += ROOM_BYTES


def _fill(disk: Path, room: int) -> Path:
    """Leave so many bytes of room."""
    filler = disk / "filler"
    with filler.open(
        "wb", buffering=0
    ) as file:  # a buffer that does not go to the disk would fail once more at the end
        try:
            while file.write(bytes(2**16)):
                pass
        except OSError:
            pass
    with filler.open("r+b") as file:
        file.truncate(max(0, filler.stat().st_size - room))
    return filler


if __name__ == "__main__":
    main(Path(sys.argv[1]))
