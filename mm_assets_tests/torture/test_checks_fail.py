"""Without what the product relies on, the checks of the torture tests must find damage: so they can find it."""

from pathlib import Path
from typing import Any

import lance
import pytest

from mm_assets.engines.lake import commits as lance_commits
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.folder import FolderSource
from mm_assets.stages.ingest import job
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets_tests.torture.checks import consistent, done_once, versions
from mm_assets_tests.torture.races import quietly
from mm_assets_tests.torture.scene import Scene, furnish
from mm_assets_tests.torture.stages import INGEST, LIST, SCORE, Work


@pytest.fixture
def work(tables: Lake, tmp_path: Path) -> Work:
    scene = Scene(tmp_path / "source")
    scene.add(12)
    furnish(tables)
    made = Work(tables, FolderSource(str(scene.folder)))
    quietly(made, [LIST])
    return made


@pytest.fixture
def _answers_get_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit is made, and the first that has rows or cells of images then says that another one came first."""
    commit = lance.LanceDataset.commit
    lost: list[int] = []

    def losing(ds: Any, transaction: Any, **named: Any) -> Any:
        done = commit(ds, transaction, **named)
        if not lost and IMAGES in done.uri and isinstance(transaction.operation, lance.LanceOperation.Update):
            lost.append(done.version)
            raise OSError("Retryable commit conflict: the answer got lost")
        return done

    monkeypatch.setattr(lance.LanceDataset, "commit", staticmethod(losing))


@pytest.fixture
def _unmarked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_commits, "_look_back", lambda *arguments, **named: None)


@pytest.mark.usefixtures("_answers_get_lost")
def test_with_the_mark_a_lost_answer_costs_nothing(work: Work) -> None:
    quietly(work, [INGEST, SCORE])
    assert not (found := consistent(work.tables)), found
    assert not (found := done_once(work.tables, {})), found


@pytest.mark.usefixtures("_answers_get_lost", "_unmarked")
def test_without_the_mark_a_lost_answer_doubles_rows(work: Work) -> None:
    quietly(work, [INGEST])
    assert consistent(work.tables).doubled


@pytest.mark.usefixtures("_unmarked")
def test_without_the_mark_a_lost_answer_writes_scores_twice(work: Work, request: pytest.FixtureRequest) -> None:
    quietly(work, [INGEST])
    before = versions(work.tables)
    request.getfixturevalue("_answers_get_lost")
    quietly(work, [SCORE])
    assert done_once(work.tables, before).doubled


@pytest.fixture
def _overtaken(monkeypatch: pytest.MonkeyPatch, work: Work) -> None:
    """Before the second batch of an ingest is committed, another ingest does everything."""
    commit = lance.LanceDataset.commit
    seen: list[int] = []

    def late(ds: Any, transaction: Any, **named: Any) -> Any:
        if not isinstance(ds, str) and IMAGES in ds.uri:  # where a table is created, it is a path
            seen.append(ds.version)
            if len(seen) == 2:
                quietly(work, [INGEST])
        return commit(ds, transaction, **named)

    monkeypatch.setattr(lance.LanceDataset, "commit", staticmethod(late))


@pytest.mark.usefixtures("_overtaken")
def test_with_the_guard_an_ingest_that_is_overtaken_doubles_nothing(work: Work) -> None:
    quietly(work, [INGEST])
    assert not (found := consistent(work.tables)), found


@pytest.mark.usefixtures("_overtaken")
def test_without_the_guard_an_ingest_that_is_overtaken_doubles_rows(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def appended(ds: Any, key: str, drop: Any, fragments: list[Any]) -> Any:
        return lance.LanceOperation.Append(fragments) if fragments else None

    monkeypatch.setattr(job, "replace_rows", appended)
    quietly(work, [INGEST])
    assert consistent(work.tables).doubled
