"""A project of the tests is copied while another process reads its history."""

import sqlite3
from contextlib import closing
from pathlib import Path

from mm_assets_tests.kit.project import Project


def test_a_copy_has_what_an_open_history_holds_and_none_of_its_journals(tmp_path: Path) -> None:
    """Journals go when the last reader closes: a copy that listed them failed where another process was that reader."""
    (tmp_path / "lake").mkdir()
    project = Project(tmp_path / "lake", tmp_path / "photos", tmp_path / "home")
    with closing(sqlite3.connect(project.home / "index.db")) as history:
        history.execute("PRAGMA journal_mode=WAL")
        history.execute("CREATE TABLE runs (name TEXT)")
        history.execute("INSERT INTO runs VALUES ('first')")
        history.commit()
        assert (project.home / "index.db-wal").stat().st_size > 0
        copy = project.copied(tmp_path / "copy")
    assert [path.name for path in copy.home.iterdir() if path.name.startswith("index")] == ["index.db"]
    with closing(sqlite3.connect(copy.home / "index.db")) as copied:
        assert copied.execute("SELECT name FROM runs").fetchall() == [("first",)]
