"""Processes that write one lake at the same time and share nothing else: no Dagster, no Ray, no lock.

Each waits at a gate until all are there. Afterwards every key has one row, every cell is what the bytes beside it give,
and one quiet run of everything makes the lake equal to one that was never raced over.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from mm_assets.operations.upkeep.job import maintain
from mm_assets.settings import UpkeepSettings
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.torture.processes import DEADLINE_S, Child, start
from mm_assets_tests.torture.stages import STAGES, Work, run

# A racer that is not refused, and one that may be, because another one does its work on newer pins.
DONE, REFUSED = "done", "failed: RefusalError"
# Files of any age are orphans, and nothing that was replaced is spared: clean-up at its sharpest.
SHARP = UpkeepSettings(target_file_bytes=2**20, keep_last=2, grace_seconds=0, scratch_seconds=0)


@dataclass(frozen=True)
class Racer:
    """What one process does.

    Args:
        work: on which lake and source.
        stages: one after the other; `maintenance` is one too.
    """

    work: Work
    stages: tuple[str, ...]


def quietly(work: Work, stages: Sequence[str] = STAGES) -> None:
    """Materialize stages here, one after the other."""
    for stage in stages:
        run(work, InProcess(), stage)


def _race(conversation: Connection, racer: Racer) -> None:
    conversation.send("ready")
    conversation.recv()
    for stage in racer.stages:
        if stage == "maintenance":
            maintain(racer.work.tables, SHARP, uuid.uuid4().hex, lambda line: None)
        else:
            run(racer.work, InProcess(), stage, conversation.send)


class Race:
    """Racers on their marks."""

    def __init__(self, racers: Sequence[Racer]) -> None:
        self.children = [start(_race, racer) for racer in racers]
        for child in self.children:
            assert child.hear(DEADLINE_S) == "ready"

    def go(self, number: int) -> Child:
        """Let one of them go."""
        child = self.children[number]
        child.conversation.send("go")
        return child

    def results(self) -> list[str]:
        """How each has ended: `done`, or what it failed on."""
        return [child.ends() for child in self.children]


def race(*racers: Racer) -> list[str]:
    """Let all go at once, and wait for their ends."""
    started = Race(racers)
    for number in range(len(racers)):
        started.go(number)
    return started.results()
