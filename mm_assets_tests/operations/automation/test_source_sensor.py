"""The sensor of the source: many arrivals make one run, and nothing is asked for twice or taken for removed."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import lance
import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.folder import FolderSource
from mm_assets.lineage.errors import RefusalError
from mm_assets.operations.automation.source_sensor import LISTING, build
from mm_assets.resources import ImageSource, LakeResource
from mm_assets.settings import AutomationSettings
from mm_assets.stages.ingest.job import list_objects
from mm_assets_tests.kit.daemon import Daemon
from mm_assets_tests.kit.steps import run_step

SETTINGS = AutomationSettings(quiet_seconds=30, longest_wait_seconds=900)


@dataclass
class Watch:
    """The sensor with a source, a lake and a clock of its own."""

    folder: Path
    tables: Lake
    daemon: Daemon = field(default_factory=Daemon)
    now: float = 1000.0
    cursor: str | None = None
    requests: list[dg.RunRequest] = field(default_factory=list)

    def look(self, after: float = 60) -> str:
        """One tick, so many seconds later; what it says, or that it asks for a run."""
        self.now += after
        sensor = build(SETTINGS, dg.DefaultSensorStatus.RUNNING, lambda: self.now)
        context = dg.build_sensor_context(
            instance=self.daemon.instance,
            cursor=self.cursor,
            resources={
                "lake": LakeResource(root=self.tables.root, single_writer=False),
                "image_source": ImageSource(source=str(self.folder)),
            },
        )
        with context:
            result = sensor.evaluate_tick(context)
        if result.skip_message and not result.run_requests:
            self.cursor = result.cursor
            return result.skip_message
        self.cursor = result.cursor
        self.requests += result.run_requests or []
        return "a run"

    def put(self, *names: str, text: str = "x") -> None:
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run(self) -> None:
        """List the source, as the run that was asked for does."""
        run_step(
            self.tables,
            lambda step: list_objects(step, self.tables, FolderSource(str(self.folder)), "me"),
            "raw_images",
        )
        self.daemon.materialize("raw_images")


@pytest.fixture
def watch(tmp_path: Path, tables: Lake) -> Watch:
    watch = Watch(tmp_path / "photos", tables)
    watch.put("a/1", "a/2", "b/3")
    return watch


@pytest.fixture
def listed(watch: Watch) -> Watch:
    watch.run()
    return watch


def test_a_source_that_was_never_listed_is_all_new(watch: Watch) -> None:
    assert watch.look() == "3 new: waiting for 30 s of quiet"
    assert watch.look() == "a run"
    watch.run()
    assert watch.look() == "3 objects, nothing changed"


def test_it_says_what_is_new_changed_and_removed(listed: Watch) -> None:
    listed.put("a/4", "a/5")
    listed.put("a/1", text="other")
    (listed.folder / "b/3").unlink()
    assert listed.look() == "2 new, 1 changed, 1 removed: waiting for 30 s of quiet"
    assert listed.look() == "a run"
    (request,) = listed.requests
    assert request.asset_selection == [LISTING]
    assert {name: request.tags[f"source/{name}"] for name in ("objects", "new", "changed", "removed")} == {
        "objects": "4",
        "new": "2",
        "changed": "1",
        "removed": "1",
    }


def test_a_thousand_arrivals_make_one_run(listed: Watch) -> None:
    for number in range(0, 1000, 25):  # for 200 s, never quiet for 30
        listed.put(*(f"a/new{k}" for k in range(number, number + 25)))
        assert "waiting" in listed.look(after=5)
    assert "waiting" in listed.look(after=29)
    assert listed.look(after=1) == "a run"
    assert listed.look(after=5) == "1,000 new: asked for before, and the run failed; materialize raw_images by hand"
    listed.run()
    assert listed.look() == "1,003 objects, nothing changed"
    assert len(listed.requests) == 1


def test_arrivals_without_an_end_are_listed_after_a_while(listed: Watch) -> None:
    results = []
    for number in range(33):
        listed.put(f"a/new{number}")
        results.append(listed.look(after=29))
    assert results.index("a run") == 32  # 928 s after the first was seen
    assert len(listed.requests) == 1


def test_arrivals_that_go_on_after_a_request_wait_for_as_long_again(listed: Watch) -> None:
    results = []
    for number in range(100):  # more than three times as long as the longest wait, and no run ever succeeds
        listed.put(f"a/new{number}")
        results.append(listed.look(after=29))
    assert [number for number, result in enumerate(results) if result == "a run"] == [32, 64, 96]


def test_a_run_that_has_listed_the_source_does_not_shorten_the_next_wait(listed: Watch) -> None:
    for number in range(33):
        listed.put(f"a/new{number}")
        listed.look(after=29)
    listed.run()
    for number in range(31):
        listed.put(f"b/new{number}")
        assert "waiting" in listed.look(after=29)
    assert len(listed.requests) == 1


def test_nothing_is_asked_for_beside_a_queued_or_running_run(listed: Watch) -> None:
    run = listed.daemon.start("raw_images", "image_table")
    listed.put("a/4")
    assert listed.look() == f"1 new: run {run.run_id[:8]} is listing the source, or is to do so"
    assert listed.look() == f"1 new: run {run.run_id[:8]} is listing the source, or is to do so"
    listed.daemon.fail(run)
    assert listed.look() == "a run"


def test_a_failing_run_is_not_asked_for_again_until_the_source_is_another(listed: Watch) -> None:
    listed.put("a/4")
    assert [listed.look(), listed.look()] == ["1 new: waiting for 30 s of quiet", "a run"]
    listed.daemon.fail(listed.daemon.start("raw_images"))
    assert {listed.look() for _ in range(5)} == {
        "1 new: asked for before, and the run failed; materialize raw_images by hand"
    }
    listed.put("a/5")
    assert [listed.look(), listed.look()] == ["2 new: waiting for 30 s of quiet", "a run"]
    keys = [request.run_key for request in listed.requests]
    assert len(set(keys)) == 2


def test_a_state_that_comes_back_is_asked_for_again_if_it_was_listed_in_between(listed: Watch) -> None:
    for _ in range(2):  # there and back, twice
        listed.put("a/4")
        assert [listed.look(), listed.look()] == ["1 new: waiting for 30 s of quiet", "a run"]
        listed.run()
        (listed.folder / "a/4").unlink()
        assert [listed.look(), listed.look()] == ["1 removed: waiting for 30 s of quiet", "a run"]
        listed.run()
    assert len({request.run_key for request in listed.requests}) == 4


def test_a_change_that_is_taken_back_before_it_is_listed_makes_no_run(listed: Watch) -> None:
    listed.put("a/4")
    listed.look()
    (listed.folder / "a/4").unlink()
    assert listed.look() == "3 objects, nothing changed"
    listed.put("a/4")
    assert listed.look() == "1 new: waiting for 30 s of quiet"  # the clock begins anew
    assert listed.requests == []


def test_a_run_that_saw_the_source_as_it_was_does_not_keep_the_change_from_being_listed(listed: Watch) -> None:
    listed.put("a/4", text="y")
    assert [listed.look(), listed.look()] == ["1 new: waiting for 30 s of quiet", "a run"]
    path = listed.folder / "a/4"
    path.rename(listed.folder.parent / "aside")
    listed.run()  # it was away while the run looked
    (listed.folder.parent / "aside").rename(path)
    assert listed.look() == "a run"
    assert len({request.run_key for request in listed.requests}) == 2


def test_a_source_that_cannot_be_listed_fails_the_tick_and_forgets_nothing(listed: Watch) -> None:
    listed.put("a/4")
    listed.look()
    before = listed.cursor
    aside = listed.folder.rename(listed.folder.parent / "aside")
    with pytest.raises(RefusalError, match=rf"source \(MM_SOURCE\): {listed.folder} cannot be listed: .*No such file"):
        listed.look()
    assert listed.cursor == before
    aside.rename(listed.folder)
    assert listed.look() == "a run"


def test_an_empty_source_is_not_taken_for_everything_removed(listed: Watch) -> None:
    for path in listed.folder.rglob("*/*"):
        path.unlink()
    assert listed.look() == f"there are no objects in {listed.folder}: nothing is taken for removed"


def test_a_source_that_was_empty_for_a_while_waits_anew(listed: Watch) -> None:
    listed.put("a/4")
    assert "waiting" in listed.look()
    aside = listed.folder.rename(listed.folder.parent / "aside")
    listed.folder.mkdir()
    assert "nothing is taken for removed" in listed.look(after=2000)
    listed.folder.rmdir()
    aside.rename(listed.folder)
    assert "waiting" in listed.look()
    assert listed.look() == "a run"


def test_a_source_that_comes_back_bit_by_bit_is_not_listed_before_it_is_quiet(listed: Watch) -> None:
    listed.put("a/4")
    assert "waiting" in listed.look()
    aside = listed.folder.rename(listed.folder.parent / "aside")
    with pytest.raises(RefusalError):
        listed.look()
    listed.now += 2000
    listed.put("a/1")  # the others are still to come
    assert listed.look() == "1 changed, 2 removed: waiting for 30 s of quiet"
    listed.put("a/2")
    assert listed.look() == "2 changed, 1 removed: waiting for 30 s of quiet"
    assert aside.exists()


def test_an_asked_state_stays_known_while_the_source_is_empty(listed: Watch) -> None:
    listed.put("a/4")
    assert [listed.look(), listed.look()] == ["1 new: waiting for 30 s of quiet", "a run"]
    aside = listed.folder.rename(listed.folder.parent / "aside")
    listed.folder.mkdir()
    listed.look()
    listed.folder.rmdir()
    aside.rename(listed.folder)
    assert "asked for before" in listed.look()


def test_a_clock_that_was_set_back_holds_nothing_up(listed: Watch) -> None:
    listed.put("a/4")
    listed.look()
    assert "waiting" in listed.look(after=-100_000)
    assert listed.look() == "a run"


@pytest.mark.parametrize("times", [1, 2])
def test_a_row_that_somebody_appended_twice_is_put_right_by_one_run(listed: Watch, times: int) -> None:
    rows = listed.tables.open("objects").to_table(filter="image_id = 'a/1'")
    for _ in range(times):
        lance.write_dataset(rows, listed.tables.open("objects"), mode="append")
    assert [listed.look(), listed.look()] == ["1 changed: waiting for 30 s of quiet", "a run"]
    listed.run()
    assert listed.look() == "3 objects, nothing changed"
    assert listed.tables.open("objects").count_rows() == 3


def test_a_row_that_is_there_twice_hides_no_new_one(listed: Watch) -> None:
    rows = listed.tables.open("objects").to_table(filter="image_id = 'a/1'")
    lance.write_dataset(rows, listed.tables.open("objects"), mode="append")
    listed.put("a/4")
    assert listed.look() == "1 new, 1 changed: waiting for 30 s of quiet"


def test_the_cursor_is_small(listed: Watch) -> None:
    listed.put(*(f"a/new{number}" for number in range(100)))
    listed.look()
    assert listed.cursor is not None
    assert set(json.loads(listed.cursor)) == {"digest", "since", "first", "looked", "asked"}
    assert len(listed.cursor) < 300
