"""What happened to the tables of a lake between two looks, as far as nobody of ours accounts for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mm_assets.lineage.refs import LanceRef

if TYPE_CHECKING:
    from mm_assets.engines.lake.tables import Lake


@dataclass(frozen=True)
class Write:
    """A commit that was made outside: what Lance calls its operation, and when."""

    version: int
    operation: str
    at: datetime


@dataclass(frozen=True)
class Finding:
    """What happened to a table outside.

    Args:
        table: its name.
        before: at the last look; None where it was not there.
        now: None where it is gone.
        commits: made outside.
    """

    table: str
    before: LanceRef | None
    now: LanceRef | None
    commits: tuple[Write, ...]

    @property
    def replaced(self) -> bool:
        """Whether it is another table than before, or an earlier state of the same one (a backup that was put back)."""
        return _is_another(self.before, self.now)

    @property
    def change(self) -> str:
        """What names it, so that it is asked for once."""
        return f"{self.before or self.table}->{self.now or 'nothing'}"

    def __str__(self) -> str:
        done = ["gone"] if self.now is None else []
        if self.now and self.before and self.replaced:
            same = self.now.table_id == self.before.table_id
            back = f"put back from version {self.before.version} to {self.now.version}"
            done.append(back if same else "another table than before")
        done += [f"{commit.operation} (version {commit.version})" for commit in self.commits]
        return f"{self.table}.lance: {', '.join(done)}"


def look(tables: "Lake", names: Iterable[str]) -> dict[str, LanceRef]:
    """Those of the tables that are there, as they are."""
    return {name: tables.ref(name, tables.open(name).version) for name in names if tables.exists(name)}


def findings(tables: "Lake", before: Mapping[str, LanceRef], now: Mapping[str, LanceRef]) -> list[Finding]:
    """What happened between two looks; a table that was not there before may have been made by a run."""
    found = [_finding(tables, table, before.get(table), seen) for table, seen in now.items()]
    found += [Finding(table, seen, None, ()) for table, seen in before.items() if table not in now]
    return [finding for finding in found if finding.commits or finding.replaced or finding.now is None]


def _is_another(before: LanceRef | None, now: LanceRef | None) -> bool:
    if before is None or now is None:
        return False
    return before.table_id != now.table_id or now.version < before.version


def _finding(tables: "Lake", table: str, before: LanceRef | None, now: LanceRef) -> Finding:
    from mm_assets.history.origins import outside_row_changes

    # Of a table that was put back, all commits were looked at when they were made.
    after = before.version if before is not None and before.table_id == now.table_id else 0
    ds = tables.open(table)
    found = [commit for commit in outside_row_changes(ds, after) if commit.version <= now.version]
    times = {item["version"]: item["timestamp"].astimezone(UTC) for item in ds.versions()} if found else {}
    commits = tuple(Write(commit.version, commit.operation, times[commit.version]) for commit in found)
    return Finding(table, before, now, commits)
