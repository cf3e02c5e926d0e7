"""A lake under every change that it can meet, against an oracle: after each step every table holds what it must.

The stages run in this process, without Ray; a crash is an exception that nothing catches, before or after a commit of
any table.
"""

import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lance
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.folder import stat_file
from mm_assets.operations.upkeep.job import maintain
from mm_assets.stages.ingest import worker
from mm_assets_tests.torture import stages
from mm_assets_tests.torture.checks import consistent, recorded
from mm_assets_tests.torture.counted import Calls, InPlace, answering, counting, pixels_of, scoring, value_of
from mm_assets_tests.torture.lake_reader import LakeReader
from mm_assets_tests.torture.oracle import Cell, File, Image, Oracle, settle
from mm_assets_tests.torture.races import SHARP, quietly
from mm_assets_tests.torture.scene import CORRUPT, Scene, furnish, picture
from mm_assets_tests.torture.stages import INGEST, LIST, PREDICT, SCORE, STAGES
from mm_assets_tests.torture.workers import NAMES

# So few names that changes meet, and fewer than speak against a place where none of them can be read.
NAMED = st.sampled_from([f"{letter}.png" for letter in "abcdefgh"])
# So few pictures that two images may have the same bytes.
PICTURES = st.integers(0, 7)
REVISIONS = st.sampled_from(["1", "2"])
MAINTENANCE = "maintenance"
CHANGES = st.lists(
    st.tuples(st.sampled_from(["add", "add", "corrupt", "remove", "remove", "touch"]), NAMED, PICTURES), min_size=2
)
Changes = list[tuple[str, str, int]]
# The last commit of an operation that a crash may come at, counted from its first.
LAST = 12
BATCH_ROWS = 2


class Crash(BaseException):
    """The end of a process, as far as that goes in this one."""


class LakeMachine(LakeReader, RuleBasedStateMachine):
    """Rules change the source, the scorers and what fails, run stages, crash them, and put the lake into shape."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.scene = Scene(self.folder / "source")
        self.tables = Lake(str(self.folder / "lake"))
        self.oracle, self.calls = Oracle(), Calls()
        self.revisions = dict.fromkeys(NAMES, "1")
        self.commits = 0  # that were made, or begun, when an operation was last cut off
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(worker, "DecodeSandbox", InPlace)
        self.patch.setattr(stages, "BATCH_ROWS", BATCH_ROWS)
        self.patch.setattr(stages, "Checksums", answering(self.calls))

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    @initialize(number=PICTURES)
    def begin(self, number: int) -> None:
        furnish(self.tables)
        self.add("a.png", number)

    # What changes.

    @rule(changes=CHANGES)
    def change(self, changes: Changes) -> None:
        for what, name, number in changes:
            there = sorted(self.oracle.source)
            if what == "add":
                self.add(name, number)
            elif what == "corrupt":
                self._put(name, CORRUPT)
            elif what == "touch":  # the same bytes at another time
                self._put(there[number % len(there)], self.oracle.source[there[number % len(there)]].data)
            elif len(there) > 1:
                self.remove(there[number % len(there)])

    def add(self, name: str, number: int) -> None:
        """A new object, or another picture in place of one."""
        self._put(name, picture(number))

    def remove(self, name: str) -> None:
        """An object that is no longer there."""
        (self.scene.folder / name).unlink()
        del self.oracle.source[name]

    @rule(name=st.sampled_from(NAMES), revision=REVISIONS)
    def revise(self, name: str, revision: str) -> None:
        self.revisions[name] = revision

    @rule(sick=st.sets(PICTURES, max_size=2))
    def fail(self, sick: set[int]) -> None:
        """Pictures on which `luck` and the answers fail from now on; what failed before might work now."""
        self.calls.sick = {pixels_of(picture(number)) for number in sick}

    def _put(self, name: str, data: bytes) -> None:
        self.scene.put(name, data)
        etag, _ = stat_file(bytes(self.scene.folder / name))
        assert etag is not None
        self.oracle.put(name, File(etag, data, None if data == CORRUPT else pixels_of(data)))

    # What follows.

    @rule(stage=st.sampled_from(STAGES), retry=st.booleans())
    def run(self, stage: str, retry: bool) -> None:
        self._run(stage, retry=retry)

    @rule(retry=st.booleans())
    def run_all(self, retry: bool) -> None:
        for stage in STAGES:
            self._run(stage, retry=retry)

    @rule()
    def maintain(self) -> None:
        maintain(self.tables, SHARP, uuid.uuid4().hex, lambda line: None)

    @rule(changes=CHANGES, number=st.integers(1, LAST), made=st.booleans(), then=CHANGES)
    def cut_off(self, changes: Changes, number: int, made: bool, then: Changes) -> None:
        """All follows a change, and the process ends at a commit, which is made or not; the source goes on changing."""
        self.change(changes)
        with self._crashing(number, made=made):
            self.run_all(retry=False)
        self.change(then)

    @rule(
        what=st.sampled_from([*STAGES, MAINTENANCE]),
        retry=st.booleans(),
        number=st.integers(1, LAST),
        made=st.booleans(),
    )
    def crash(self, what: str, retry: bool, number: int, made: bool) -> None:
        """One operation is cut off."""
        with self._crashing(number, made=made):
            if what == MAINTENANCE:
                self.maintain()
            else:
                self._run(what, retry=retry)

    def _run(self, stage: str, *, retry: bool) -> None:
        if any(asset not in self._newest() for asset in stages.INPUTS[stage]):
            return
        run = {LIST: self._list, INGEST: self._ingest, SCORE: self._score, PREDICT: self._predict}
        run[stage](retry)

    def _list(self, retry: bool) -> None:
        after = self.oracle.listing()
        self._do(LIST, retry, self.oracle.listed, after, Counter(), self._objects)

    def _ingest(self, retry: bool) -> None:
        pinned = self.tables.open_at(self._newest()["raw_images"].ref).to_table(columns=["image_id", "etag"])
        listed = dict(zip(pinned["image_id"].to_pylist(), pinned["etag"].to_pylist(), strict=True))
        after, reads = self.oracle.ingest(listed, retry=retry)
        self._do(INGEST, retry, self.oracle.images, after, reads, self._images)

    def _score(self, retry: bool) -> None:
        pinned = self._newest()["image_table"].ref.version
        born = self.tables.open("images").to_table(columns=["image_id", "_row_created_at_version"]).to_pylist()
        names = [row["image_id"] for row in born if row["_row_created_at_version"] <= pinned]
        after, seen = self.oracle.score(names, self.revisions, self._cell, retry=retry)
        self._do(SCORE, retry, self.oracle.images, after, seen, self._images)

    def _predict(self, retry: bool) -> None:
        ds = self.tables.open_at(self._newest()["image_table"].ref)
        rows = {
            row["image_id"]: Image(row["etag"], row["sha256"], row["error"])
            for row in ds.to_table(columns=["image_id", "etag", "sha256", "error"]).to_pylist()
        }
        after, asked = self.oracle.predict(rows, self._answer, retry=retry)
        self._do(PREDICT, retry, self.oracle.predictions, after, asked, self._predictions)

    def _do(
        self,
        stage: str,
        retry: bool,
        before: dict[Any, Any],
        after: dict[Any, Any],
        calls: Counter[Any],
        look: Callable[[], dict[Any, Any]],
    ) -> None:
        """Run a stage: it makes `after` of `before` by these calls, or, where it crashes, a part of both."""
        known, before = self._versions(stage), dict(before)
        self.calls.taken()
        try:
            quietly(self._work(retry), [stage])
        except Crash:
            found = look()
            assert not (wrong := settle(before, after, found)), wrong
            assert (seen := self.calls.taken()) <= calls, f"{stage} did too much: {seen - calls}"
            self._adopt(stage, found)
            raise
        _same(f"after {stage}", look(), after)
        seen = self.calls.taken()
        assert seen == calls, f"{stage} did too much: {seen - calls}, or too little: {calls - seen}"
        self._adopt(stage, after)
        if not calls and after == before and known is not None:
            assert self._versions(stage) == known or self._adds_columns(stage, known), "nothing to do made a version"

    def _adopt(self, stage: str, found: dict[Any, Any]) -> None:
        if stage == PREDICT:
            self.oracle.predictions = found
        elif stage == LIST:
            self.oracle.listed = found
        else:
            self.oracle.images = found

    def _work(self, retry: bool) -> stages.Work:
        source = counting(self.calls, str(self.scene.folder))
        scorers = tuple(scoring(self.calls, name, revision) for name, revision in self.revisions.items())
        return stages.Work(self.tables, source, scorers, retry)

    def _cell(self, name: str, revision: str, pixels: bytes) -> Cell:
        if name == "luck" and pixels in self.calls.sick:
            return Cell(revision, None, "ValueError: sick")
        return Cell(revision, value_of(name, revision, pixels), None)

    def _answer(self, pixels: bytes) -> str:
        return "error" if pixels in self.calls.sick else "answer"

    @contextmanager
    def _crashing(self, number: int, *, made: bool) -> Iterator[None]:
        commit, count = lance.LanceDataset.commit, 0

        def crashing(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == number and not made:
                raise Crash
            done = commit(*arguments, **named)
            if count == number:
                raise Crash
            return done

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lance.LanceDataset, "commit", staticmethod(crashing))
            with suppress(Crash):
                yield
        self.commits = count

    @invariant()
    def every_table_holds_what_it_must(self) -> None:
        _same("objects", self._objects(), self.oracle.listed)
        _same("images", self._images(), self.oracle.images)
        _same("predictions", self._predictions(), self.oracle.predictions)


class Settling(LakeMachine):
    """As above; at the end everything runs once more, and the lake is looked through."""

    def teardown(self) -> None:
        try:
            if self.oracle.source:
                self.run_all(retry=False)
                self.every_table_holds_what_it_must()
                assert not (found := recorded(self.tables)), found
                assert not (found := consistent(self.tables)).unreadable, found
        finally:
            super().teardown()


def _same(table: str, found: dict[Any, Any], expected: dict[Any, Any]) -> None:
    unlike = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
    assert not unlike, [f"{table}: {key} is {found.get(key)}, not {expected.get(key)}" for key in unlike]
