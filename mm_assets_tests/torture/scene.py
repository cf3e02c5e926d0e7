"""A folder of tiny pictures that changes as it is told, and the model that answers about them."""

import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import keep_model, model_staging
from mm_assets.engines.models.registry import SCHEMA, TABLE, Model, register
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.stages.evaluate.tables import EVALUATIONS, EVALUATIONS_SCHEMA
from mm_assets_tests.kit.lake_rows import noise, png
from mm_assets_tests.kit.steps import run_step

# Pixels of a side: what is tortured are commits, not decoders.
SIDE = 8
CORRUPT = b"\x89PNG\r\n\x1a\n broken"


def picture(seed: int) -> bytes:
    """The bytes of the picture of that number; of others they differ."""
    return png(noise(seed, SIDE, SIDE))


@dataclass
class Scene:
    """The source.

    Args:
        folder: where the pictures lie.
        seed: of every choice.
    """

    folder: Path
    seed: int = 0
    drawn: int = 0
    clock: int = 10**9  # seconds; every write has a time of its own, whatever the clock of the disk is worth
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def put(self, name: str, data: bytes | None = None) -> None:
        """Add a picture, or put another one in its place."""
        self.drawn += 1
        (self.folder / name).write_bytes(picture(self.drawn) if data is None else data)
        self.touch(name)

    def touch(self, name: str) -> None:
        """The same bytes at another time."""
        self.clock += 1
        os.utime(self.folder / name, (self.clock, self.clock))

    def add(self, count: int) -> None:
        """Add pictures, one of them corrupt."""
        for number in range(count):
            self.put(f"{self.drawn:05d}.png", CORRUPT + str(self.drawn).encode() if number == 1 else None)

    def stir(self, count: int) -> None:
        """Add, change, remove and touch pictures, a few of each for `count` changes in all."""
        names = self.names
        self.chance.shuffle(names)
        few = count // 8
        for name in names[:few]:
            (self.folder / name).unlink()
        for name in names[few : 2 * few]:
            self.touch(name)
        for name in names[2 * few : count // 2]:
            self.put(name)
        self.add(count - count // 2)


def furnish(tables: Lake) -> None:
    """Put a model into an empty lake that answers can be asked of (`stages.Checksums` gives them)."""
    with model_staging(tables) as folder:
        (folder / "weights").write_bytes(b"none")
        digest, num_bytes = keep_model(tables, folder)
    task = {"task": "label", "prompt": "what is it?", "answer": "a {label}."}
    model = Model(digest, "checkpoint", "torture", num_bytes, {}, {"tasks": [task], "labels": ["pool", "gym"]}, {})

    def trained(step: StepContext) -> StepResult:
        final = StepResult({"rows": 1, "digest": digest})
        tables.open_or_create(TABLE, SCHEMA, step.properties(["llava_checkpoint"], 0))
        register(tables, model, step.run_id, step.properties(["llava_checkpoint"], 1, {"llava_checkpoint": final}))
        return final

    def judged(step: StepContext) -> StepResult:
        tables.open_or_create(EVALUATIONS, EVALUATIONS_SCHEMA, step.properties(["evaluation"], 0))
        return StepResult({"rows": 0})

    run_step(tables, trained, "llava_checkpoint")
    run_step(tables, judged, "evaluation", inputs=("llava_checkpoint",))
