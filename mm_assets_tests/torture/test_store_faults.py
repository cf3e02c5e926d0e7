"""A store that is busy, resets connections, loses answers and stalls: the end is right, or the step says why not."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.bucket import S3Source
from mm_assets_tests.kit.stores import Bucket
from mm_assets_tests.torture.checks import Damage, compared, consistent, done_once, recorded, versions
from mm_assets_tests.torture.races import quietly
from mm_assets_tests.torture.scene import Scene, furnish
from mm_assets_tests.torture.stages import STAGES, Work
from mm_assets_tests.torture.store_faults import (
    BUSY,
    DENIED,
    LOST,
    PATIENCE_S,
    RESET,
    STALL,
    Storm,
    by_chance,
    commits_once,
    storm,
)
from mm_assets_tests.torture.workers import scorer

pytestmark = pytest.mark.s3
PICTURES, CHANGES = 6, 8
# Times that a stage is run until the storm lets it end.
TRIES = 12


@dataclass
class Coast:
    """Two lakes in a bucket over one source: one is reached through the storm."""

    scene: Scene
    bucket: Bucket
    storm: Storm
    calm: Work
    stormy: Work

    @classmethod
    def before(cls, scene: Scene, bucket: Bucket, storm: Storm) -> Self:
        """Put the source there, and all that the lakes need."""
        bucket.put_folder(scene.folder, "source")
        calm, stormy = (
            Work(
                Lake(f"{bucket.uri}/{name}", s3),
                S3Source(f"{bucket.uri}/source", s3),
                scorers=(scorer("luck", "1"),),
            )
            for name, s3 in {"calm": bucket.s3, "stormy": storm.s3}.items()
        )
        assert stormy.tables.options is not None
        stormy.tables.options["timeout"] = f"{PATIENCE_S}s"
        for work in (calm, stormy):
            furnish(replace(work.tables, s3=bucket.s3))
        return cls(scene, bucket, storm, calm, stormy)

    @property
    def seen(self) -> Lake:
        """The stormy lake, past the storm."""
        return replace(self.stormy.tables, s3=self.bucket.s3)

    def damage(self, since: dict[str, int]) -> Damage:
        """What is wrong; the calm lake follows meanwhile."""
        seen = self.seen
        quietly(self.calm)
        damage = compared(seen, self.calm.tables)
        damage += consistent(seen)
        damage += done_once(seen, since)
        damage += recorded(seen)
        return damage

    def change(self) -> dict[str, int]:
        """Let the source change; gives the versions from which on everything is done once."""
        before = set(self.scene.names)
        self.scene.stir(CHANGES)
        for name in before - set(self.scene.names):
            self.bucket.delete(f"source/{name}")
        self.bucket.put_folder(self.scene.folder, "source")
        return versions(self.seen)


@pytest.fixture
def coast(bucket: Bucket, tmp_path: Path) -> Iterator[Coast]:
    scene = Scene(tmp_path / "source")
    scene.add(PICTURES)
    with storm(bucket) as made:
        yield Coast.before(scene, bucket, made)


def endured(work: Work) -> int:
    """Run everything until it ends; gives how often a stage failed and said why."""
    failures = 0
    for stage in STAGES:
        for _ in range(TRIES):
            try:
                quietly(work, [stage])
                break
            except Exception as error:  # noqa: BLE001  (a store in a storm may give any)
                failures += bool(str(error))
        else:
            pytest.fail(f"{stage} never ended")
    return failures


def test_a_storm_leaves_the_lake_as_it_would_have_been(coast: Coast) -> None:
    quietly(coast.stormy)
    assert not (found := coast.damage({})), found
    since = coast.change()
    coast.storm.choose = by_chance(seed=5, share=0.08)
    endured(coast.stormy)
    assert not (found := coast.damage(since)), found
    assert set(coast.storm.done) == {BUSY, RESET, DENIED, LOST, STALL}


def test_the_store_makes_every_commit_and_every_answer_is_lost(coast: Coast) -> None:
    """Nothing is committed twice, and no step fails."""
    coast.storm.choose = commits_once(DENIED, LOST)
    assert endured(coast.stormy) == 0
    assert not (found := coast.damage({})), found
    assert min(coast.storm.done[DENIED], coast.storm.done[LOST]) > 5
