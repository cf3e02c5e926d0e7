"""A lake's history and its tables, as they stand at one moment."""

from collections.abc import Mapping, Sequence
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

    def __init__(self, tables: LakeTables, report: Report, only: Mapping[str, Sequence[int]] | None = None) -> None:
        """Read what is compared.

        Args:
            tables: the lake.
            report: where damage is told.
            only: versions whose commits are looked at, by table; all versions of all tables where nothing is said.
        """
        self.tables = tables
        rows = read_rows(tables)
        self.history = materializations(rows)
        self.withdrawn = {(item.asset, item.ref) for item in withdrawals_in(rows)}
        self.maintained = maintenance_in(rows)
        self.heads: dict[str, lance.LanceDataset] = {}
        self.commits: dict[str, dict[int, Commit]] = {}
        for name in TABLES if only is None else only:
            with report.reading(name):
                self._meet(name, None if only is None else only[name])
        self.ids = {name: table_id(ds) for name, ds in self.heads.items()}

    def _meet(self, name: str, only: Sequence[int] | None) -> None:
        if self.tables.exists(name):
            ds = self.tables.open(name)
            found = commits_in(ds, [version.number for version in versions_of(ds)] if only is None else only)
            self.commits[name] = {commit.version: commit for commit in found}
            self.heads[name] = ds

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
