"""Writers at the same time, in processes that share nothing but the lake."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.folder import FolderSource
from mm_assets_tests.torture.checks import Damage, compared, consistent, recorded
from mm_assets_tests.torture.processes import DEADLINE_S
from mm_assets_tests.torture.races import DONE, REFUSED, Race, Racer, quietly, race
from mm_assets_tests.torture.scene import Scene, furnish
from mm_assets_tests.torture.stages import INGEST, LIST, PREDICT, SCORE, STAGES, Work, both
from mm_assets_tests.torture.workers import scorer

PICTURES, CHANGES = 32, 16
ROUNDS = range(2)


@dataclass
class Arena:
    """A source, the lake that is raced over, and one that only ever follows quietly."""

    scene: Scene
    folder: Path

    @property
    def work(self) -> Work:
        return self._work("raced")

    def _work(self, name: str) -> Work:
        return Work(Lake(str(self.folder / name)), FolderSource(str(self.scene.folder)))

    def quietly(self, stages: tuple[str, ...] = STAGES, revision: str = "1") -> None:
        """Materialize stages on both lakes."""
        for name in ("calm", "raced"):
            quietly(replace(self._work(name), scorers=both(revision)), stages)

    def settled(self, revision: str = "1") -> Damage:
        """What is wrong after a quiet run of everything."""
        self.quietly(STAGES, revision)
        damage = compared(self.work.tables, self._work("calm").tables)
        damage += recorded(self.work.tables)
        return damage


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    made = Arena(Scene(tmp_path / "source"), tmp_path)
    for name in ("calm", "raced"):
        furnish(Lake(str(tmp_path / name)))
    made.scene.add(PICTURES)
    return made


@pytest.mark.parametrize(
    "stages",
    [(LIST,), (LIST, INGEST), (PREDICT,), STAGES],
    ids=["listings", "ingests", "predictions", "whole graphs"],
)
@pytest.mark.parametrize("number", ROUNDS)
def test_two_that_do_the_same(arena: Arena, stages: tuple[str, ...], number: int) -> None:
    """Into a new lake, and into one that has rows."""
    if number:
        arena.quietly()
        arena.scene.stir(CHANGES)
    arena.quietly(STAGES[: STAGES.index(stages[0])])
    assert race(Racer(arena.work, stages), Racer(arena.work, stages)) == [DONE, DONE]
    assert not (found := consistent(arena.work.tables)), found
    assert not (found := recorded(arena.work.tables)), found
    assert not (found := arena.settled()), found


@pytest.mark.parametrize("number", ROUNDS)
def test_two_ingests_of_a_source_that_changes_in_between(arena: Arena, number: int) -> None:
    if number:
        arena.quietly()
        arena.scene.stir(CHANGES)
    arena.quietly((LIST,))
    started = Race([Racer(arena.work, (INGEST,)), Racer(arena.work, (LIST, INGEST))])
    assert started.go(0).hear(DEADLINE_S) == "pinned"
    arena.scene.stir(CHANGES)
    started.go(1)
    first, second = started.results()
    assert first.startswith((DONE, REFUSED)), first
    assert second == DONE, second
    assert not (found := consistent(arena.work.tables)), found
    assert not (found := arena.settled()), found


@pytest.mark.parametrize("number", ROUNDS)
def test_ingest_and_score(arena: Arena, number: int) -> None:
    arena.quietly((LIST, INGEST) if number else STAGES)
    arena.scene.stir(CHANGES)
    work = arena.work if number else replace(arena.work, scorers=both("2"))
    assert race(Racer(work, (LIST, INGEST)), Racer(work, (SCORE,))) == [DONE, DONE]
    assert not (found := consistent(work.tables)), found
    assert not (found := arena.settled("2")), found


@pytest.mark.parametrize("names", [("crc", "luck"), ("crc", "crc")], ids=["different", "same"])
def test_two_scorers(arena: Arena, names: tuple[str, str]) -> None:
    arena.quietly((LIST, INGEST))
    racers = [Racer(replace(arena.work, scorers=(scorer(name, "1"),)), (SCORE,)) for name in names]
    assert race(*racers) == [DONE, DONE]
    assert not (found := consistent(arena.work.tables)), found
    assert not (found := arena.settled()), found


@pytest.mark.parametrize("stage", [INGEST, SCORE, PREDICT])
def test_a_stage_and_maintenance(arena: Arena, stage: str) -> None:
    """Compaction, clean-up and their fences beside a writer: it ends well, or says that it was cleaned up under it."""
    arena.quietly()
    arena.scene.stir(CHANGES)
    work = replace(arena.work, scorers=both("2"))
    arena.quietly(STAGES[: STAGES.index(stage)], "2")
    written, upkept = race(Racer(work, (stage,)), Racer(work, ("maintenance",) * 4))
    assert written == DONE or "FencedError" in written, written
    assert upkept == DONE, upkept
    assert not (found := consistent(work.tables)), found
    assert not (found := arena.settled("2")), found
