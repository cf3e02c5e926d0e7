"""Writes from outside to the tables of a lake, between two looks: no step, upkeep or history made them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mm_assets.lineage.refs import LanceRef

if TYPE_CHECKING:
    from mm_assets.engines.lake.tables import Lake


@dataclass(frozen=True)
class OutsideCommit:
    """A commit that was made outside; `operation` is Lance's word."""

    version: int
    operation: str
    at: datetime


@dataclass(frozen=True)
class OutsideWrite:
    """What was done to one table from outside.

    For example, between two looks at `sft`, of table id a1:
        before a1@v7, now a1@v9, v8 a step's, v9 a Delete by hand   commits = (v9 Delete,)
        before a1@v7, now a1@v5                                     replaced: a backup was put back
        before a1@v7, now b2@v1                                     replaced: dropped and made anew
        before a1@v7, now None                                      the table is gone

    Args:
        table: its name.
        before: at the last look; None where it was not there.
        now: None where it is gone.
        commits: made outside.
    """

    table: str
    before: LanceRef | None
    now: LanceRef | None
    commits: tuple[OutsideCommit, ...]

    @property
    def replaced(self) -> bool:
        """Whether it is another table than before, or an earlier state of the same one (a backup that was put back)."""
        return _is_another(self.before, self.now)

    @property
    def change(self) -> str:
        """A name of the change, so that its run is requested once."""
        return f"{self.before or self.table}->{self.now or 'nothing'}"

    def __str__(self) -> str:
        done = ["gone"] if self.now is None else []
        if self.now and self.before and self.replaced:
            same = self.now.table_id == self.before.table_id
            back = f"put back from version {self.before.version} to {self.now.version}"
            done.append(back if same else "another table than before")
        done += [f"{commit.operation} (version {commit.version})" for commit in self.commits]
        return f"{self.table}.lance: {', '.join(done)}"


def current_versions(tables: "Lake", names: Iterable[str]) -> dict[str, LanceRef]:
    """The newest version of each table that is there."""
    return {name: tables.ref(name, tables.open(name).version) for name in names if tables.exists(name)}


def find_outside_writes(
    tables: "Lake", before: Mapping[str, LanceRef], now: Mapping[str, LanceRef]
) -> list[OutsideWrite]:
    """The writes from outside between two looks. A table that is new may be a run's own, so it is none."""
    writes = [_outside_write(tables, table, before.get(table), ref) for table, ref in now.items()]
    writes += [OutsideWrite(table, ref, None, ()) for table, ref in before.items() if table not in now]
    return [write for write in writes if write.commits or write.replaced or write.now is None]


def _is_another(before: LanceRef | None, now: LanceRef | None) -> bool:
    if before is None or now is None:
        return False
    return before.table_id != now.table_id or now.version < before.version


def _outside_write(tables: "Lake", table: str, before: LanceRef | None, now: LanceRef) -> OutsideWrite:
    from mm_assets.history.origins import outside_row_changes

    # The commits of a table that was put back were looked at when they were made.
    after = before.version if before is not None and before.table_id == now.table_id else 0
    ds = tables.open(table)
    row_changes = [commit for commit in outside_row_changes(ds, after) if commit.version <= now.version]
    times = {item["version"]: item["timestamp"].astimezone(UTC) for item in ds.versions()} if row_changes else {}
    commits = tuple(OutsideCommit(commit.version, commit.operation, times[commit.version]) for commit in row_changes)
    return OutsideWrite(table, before, now, commits)
