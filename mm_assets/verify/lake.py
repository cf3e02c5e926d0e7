"""A lake's history and its tables, as they stand at one moment."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import lance

from mm_assets.engines.commit_origins import Commit, commits_in
from mm_assets.engines.lance_cleanup import versions_of
from mm_assets.engines.lance_files import File, files_of
from mm_assets.engines.lance_tables import LakeTables, table_id
from mm_assets.engines.lineage_rows import read_rows
from mm_assets.engines.lineage_table import materializations
from mm_assets.engines.lineage_upkeep import maintenance_in, withdrawals_in
from mm_assets.lineage.refs import LanceRef, Record
from mm_assets.tables import TABLES
from mm_assets.verify.report import Report


class Lake:
    """What is compared with each other; read once. Tables that cannot be read are told to the report, and left out."""

    def __init__(self, tables: LakeTables, report: Report, names: Iterable[str] = TABLES) -> None:
        """Read what is compared.

        Args:
            tables: the lake.
            report: where damage is told.
            names: of the tables that are looked at, all their versions; see `meet`.
        """
        self.tables, self._report = tables, report
        rows = read_rows(tables)
        self.history = materializations(rows)
        self.withdrawn = {(item.asset, item.ref) for item in withdrawals_in(rows)}
        self.maintained = maintenance_in(rows)
        self.heads: dict[str, lance.LanceDataset] = {}
        self.commits: dict[str, dict[int, Commit]] = {}
        self.ids: dict[str, str] = {}
        for name in names:
            self.meet(name)

    def meet(self, name: str, versions: Sequence[int] | None = None) -> None:
        """Look at a table, where it is there: at the commits of some of its versions, or of all."""
        with self._report.reading(name):
            if self.tables.exists(name):
                ds = self.tables.open(name)
                found = commits_in(ds, [item.number for item in versions_of(ds)] if versions is None else versions)
                self.commits[name] = {commit.version: commit for commit in found}
                self.heads[name], self.ids[name] = ds, table_id(ds)

    @cached_property
    def tags(self) -> dict[str, dict[str, int]]:
        """Version by tag, of every table."""
        return {
            name: {tag: found["version"] for tag, found in ds.tags.list().items()} for name, ds in self.heads.items()
        }

    @cached_property
    def files(self) -> dict[str, dict[str, File]]:
        """The files of every table, by their path below it."""
        return {name: files_of(self.tables, name) for name in self.heads}

    @cached_property
    def promised(self) -> dict[tuple[str, LanceRef], Record]:
        """Materialized versions that must be readable, of tables that are still there; each with its newest record."""
        return {
            (record.asset, record.ref): record
            for record in self.history.values()
            if self.is_here(record.ref) and (record.asset, record.ref) not in self.withdrawn
        }

    def is_here(self, ref: LanceRef) -> bool:
        """Whether a version is of a table as it is now, not of one that was dropped since."""
        return self.ids.get(ref.table) == ref.table_id

    def newest(self, asset: str) -> Record | None:
        """The last materialization of an asset, of its table as it is now."""
        own = [record for record in self.history.values() if record.asset == asset and self.is_here(record.ref)]
        return own[-1] if own else None

    def moved(self) -> bool:
        """Whether somebody wrote since."""
        return any(self.tables.open(name).version != ds.version for name, ds in self.heads.items())
