"""Kill -9 of steps and of Ray workers at random instants; afterwards the lake must be that of an undisturbed run.

`python -m mm_assets_tests.torture.kills 500 --seed 0 --out report.json` is the long form (`make torture N=500`).

The source changes a few times (a generation each), and a second lake follows it without being disturbed, in runs that
say how long a stage takes. Over the other lake each stage is started again and again: with a step that is killed at an
instant drawn from that time (or while it publishes), with a worker that is killed, or with both, until a run ends
before its instant came. Then the lakes are compared.
"""

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.folder import FolderSource
from mm_assets_tests.torture.checks import Damage, compared, consistent, done_once, readable, recorded, versions
from mm_assets_tests.torture.processes import DEADLINE_S, Child, Nodes, ray_cluster, start, step
from mm_assets_tests.torture.scene import Scene, furnish
from mm_assets_tests.torture.stages import INGEST, LIST, PREDICT, SCORE, Work, both

# Pictures at first, changes of the source at a time, and generations until a new lake is begun.
PICTURES, CHANGES, GENERATIONS = 64, 48, 5
STAGES = (INGEST, SCORE, PREDICT)
# What is killed in a run, and how often that is drawn.
PLANS = {("step",): 3, ("worker", "step"): 3, ("worker",): 2, ("publish",): 1}
# Runs of one stage after which it is left to end.
MOST_RUNS = 12


@dataclass
class Times:
    """Seconds of the job of an undisturbed run, and of its publication."""

    job: float
    publication: float


@dataclass
class Report:
    """What was done, and what came of it."""

    seed: int
    wanted: int
    until: float
    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    lakes: int = 0
    generations: int = 0
    commits: int = 0
    seconds: float = 0.0
    damage: Damage = field(default_factory=Damage)

    @property
    def killed(self) -> int:
        return self.kills.total()

    @property
    def over(self) -> bool:
        """Whether nothing more is to be done."""
        return bool(self.damage) or self.killed >= self.wanted or time.monotonic() > self.until

    def as_json(self) -> dict[str, Any]:
        return {
            "kills": self.killed,
            "kills_asked_for": self.wanted,
            "kills_by_stage_and_victim": dict(sorted(self.kills.items())),
            **{name: getattr(self, name) for name in ("seed", "runs", "lakes", "generations", "commits")},
            "seconds": round(self.seconds, 1),
            **self.damage.counts(),
            "damage": asdict(self.damage),
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        }


def torture(folder: Path, wanted: int, seed: int, minutes: float = 24 * 60) -> Report:
    """Kill so many times, or for so long; the first damage ends it too."""
    report, chance = Report(seed, wanted, time.monotonic() + 60 * minutes), random.Random(seed)
    started = time.monotonic()
    with ray_cluster(folder) as nodes:
        while not report.over:
            report.lakes += 1
            try:
                _Lakes(folder / f"{report.lakes}", nodes, report, chance).live()
            except AssertionError as failure:
                report.damage.failed.append(str(failure))
    report.seconds = time.monotonic() - started
    return report


class _Lakes:
    """A lake that is tortured, and one that is not, over one source."""

    def __init__(self, folder: Path, nodes: Nodes, report: Report, chance: random.Random) -> None:
        self._nodes, self._report, self._chance = nodes, report, chance
        self._scene = Scene(folder / "source", chance.randrange(2**32))
        self._tortured, self._undisturbed = Lake(str(folder / "tortured")), Lake(str(folder / "calm"))
        for tables in (self._tortured, self._undisturbed):
            furnish(tables)

    def live(self) -> None:
        """Let the source change and everything follow, a few times."""
        self._scene.add(PICTURES)
        for generation in range(1, GENERATIONS + 1):
            self._follow(str(1 + generation // 3))
            if self._report.over:
                return
            self._scene.stir(CHANGES)

    def _follow(self, revision: str) -> None:
        """One generation: the calm lake first, which says how long things take."""
        report, since = self._report, versions(self._tortured)
        calm, tortured = (self._work(tables, revision) for tables in (self._undisturbed, self._tortured))
        self._calmly(calm, LIST)
        times = {stage: self._calmly(calm, stage) for stage in STAGES}
        self._calmly(tortured, LIST)
        for stage in STAGES:
            for _ in range(MOST_RUNS):
                if report.over or self._disturbed(tortured, stage, times[stage]):
                    break
                report.damage += readable(self._tortured)
        if report.damage:
            return
        for stage in (LIST, *STAGES):  # nothing is left to do, and what a crash left out is made up for
            self._calmly(tortured, stage)
        report.generations += 1
        report.commits += sum(versions(self._tortured).values()) - sum(since.values())
        report.damage += compared(self._tortured, self._undisturbed)
        if not report.damage.unreadable:
            report.damage += consistent(self._tortured)
            report.damage += done_once(self._tortured, since)
            report.damage += recorded(self._tortured)

    def _work(self, tables: Lake, revision: str) -> Work:
        return Work(tables, FolderSource(str(self._scene.folder)), both(revision))

    def _calmly(self, work: Work, stage: str) -> Times:
        """Let a stage end."""
        self._report.runs += 1
        child = start(step, work, stage, self._nodes.address)
        _expect(child, "begin")
        began = time.monotonic()
        _expect(child, "publish")
        done = time.monotonic()
        _expect(child, "published")
        published = time.monotonic()
        assert child.ends() == "done"
        return Times(done - began, published - done)

    def _disturbed(self, work: Work, stage: str, times: Times) -> bool:
        """Run a stage and kill something in it; whether the stage ended."""
        self._report.runs += 1
        plan = self._chance.choices(list(PLANS), list(PLANS.values()))[0]
        child = start(step, work, stage, self._nodes.address)
        _expect(child, "begin")
        if plan == ("publish",):
            return self._kill_publication(child, stage, times)
        instants = sorted(self._chance.uniform(0, times.job + times.publication) for _ in plan)
        began = time.monotonic()
        for victim, instant in zip(plan, instants, strict=True):
            if _over(child, began + instant):
                break
            if victim == "step":
                child.kill()
                self._killed(stage, victim)
                return False
            if not self._kill_worker(child):
                break
            self._killed(stage, victim)
        ended = child.ends()
        assert ended == "done", ended
        return True

    def _killed(self, stage: str, victim: str) -> None:
        self._report.kills[f"{stage} {victim}"] += 1

    def _kill_worker(self, child: Child) -> bool:
        """Kill an actor as soon as there is one; none comes where the run is over."""
        while not self._nodes.kill_actor(self._chance):
            if _over(child, time.monotonic() + 0.01):
                return False
        return True

    def _kill_publication(self, child: Child, stage: str, times: Times) -> bool:
        """Kill the step between its last commit and the end of its publication."""
        _expect(child, "publish")
        if _over(child, time.monotonic() + self._chance.uniform(0, times.publication)):
            assert child.ends() == "done"
            return True
        child.kill()
        self._killed(stage, "publication")
        return False


def _expect(child: Child, word: str) -> None:
    said = child.hear(DEADLINE_S)
    assert said == word, f"a step said {said!r}, not {word!r}"


def _over(child: Child, instant: float) -> bool:
    """Wait for an instant; whether the step published before it came."""
    while True:
        said = child.hear(instant - time.monotonic())
        if said is None:
            return False
        assert said in ("publish", "published", "done"), said
        if said != "publish":
            return True


def main() -> int:
    """Run from the command line; the exit status says whether anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=24 * 60, help="give up after so long, with what was done")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        report = torture(Path(folder), asked.kills, asked.seed, asked.minutes)
    text = json.dumps(report.as_json(), indent=2)
    print(text)
    if asked.out:
        asked.out.write_text(text + "\n")
    return 1 if report.damage else 0


if __name__ == "__main__":
    sys.exit(main())
