"""A lake's history and its tables, as they stand at one moment."""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

import lance

from mm_assets.engines.lake.files import files_of
from mm_assets.engines.lake.tables import Lake, table_id
from mm_assets.engines.lake.upkeep.cleanup import versions_of
from mm_assets.engines.store.opening import place_at
from mm_assets.engines.store.place import File
from mm_assets.history.history import History
from mm_assets.history.origins import Commit, commits_in
from mm_assets.history.rows import ALL_TABLES
from mm_assets.history.rows import TABLE as LINEAGE
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef
from mm_assets.operations.verify.history import drafts_of, read_history
from mm_assets.operations.verify.report import Report

DATA_VERSION = re.compile(r"(?P<table>\w+):(?P<id>[0-9a-f]{6})@v(?P<version>\d+)")


class LakeSnapshot:
    """The history and the tables of a lake, read once. An unreadable table is a line of the report, and left out."""

    def __init__(self, tables: Lake, report: Report, names: Iterable[str] = ALL_TABLES) -> None:
        """Read what is compared.

        Args:
            tables: the lake.
            report: gets a line for each table that cannot be read.
            names: of the tables to load, with all their versions; see `load_table`.
        """
        self.tables, self._report = tables, report
        self.heads: dict[str, lance.LanceDataset] = {}
        self.commits: dict[str, dict[int, Commit]] = {}
        self.ids: dict[str, str] = {}
        # First: `was_written_since` then notices a row that is added while the tables are read.
        self._opened = {LINEAGE: self._open(LINEAGE)}
        self.history = self._history()
        self.expired = {(item.asset, item.ref) for item in self.history.expiries}
        for name in names:
            self.load_table(name)

    def _open(self, name: str) -> lance.LanceDataset | None:
        with self._report.reading(name):
            if self.tables.exists(name):
                return self.tables.open(name)
        return None

    def _history(self) -> History:
        ds = self._opened[LINEAGE]
        if ds is not None:
            with self._report.reading(LINEAGE):
                return read_history(self.tables, ds, self._report)
        return History(self.tables)

    def load_table(self, name: str, versions: Sequence[int] | None = None) -> None:
        """Loads a table, if it is there: its head and the commits of some versions, or of all."""
        if name not in self._opened:
            self._opened[name] = self._open(name)
        ds = self._opened[name]
        if ds is None:
            return
        with self._report.reading(name):
            commits = commits_in(ds, [item.number for item in versions_of(ds)] if versions is None else versions)
            self.commits[name] = {commit.version: commit for commit in commits}
            self.heads[name], self.ids[name] = ds, table_id(ds)

    @cached_property
    def final_versions(self) -> dict[tuple[str, str], int]:
        """The version at which a run has materialized an asset, by asset and run."""
        versions: dict[tuple[str, str], int] = {}
        for record in self.history.records.values():
            if self.is_here(record.ref):
                key = (record.asset, record.run_id)
                versions[key] = max(versions.get(key, 0), record.ref.version)
        return versions

    @cached_property
    def drafts(self) -> list[Record]:
        """The records that commits carry, in the order of each table's versions."""
        return [
            draft
            for table, commits in self.commits.items()
            for number, commit in sorted(commits.items())
            for draft in drafts_of(commit, LanceRef(table, self.ids[table], number), self._report)
        ]

    @cached_property
    def history_is_empty(self) -> bool:
        """Whether the history has no record though several runs wrote some; a lone first run may have been killed."""
        return not self.history.records and len({draft.run_id for draft in self.drafts}) > 1

    @cached_property
    def assets_missing_last_record(self) -> set[str]:
        """Assets whose last commit carries a record that the history does not have."""
        last = {draft.asset: draft for draft in self.drafts}
        return {asset for asset, draft in last.items() if draft.id not in self.history.records}

    @cached_property
    def tags(self) -> dict[str, dict[str, int]]:
        """Version by tag, of every table whose tags can be read."""
        by_table = {}
        for name, ds in self.heads.items():
            with self._report.reading(f"{name}, tags"):
                by_table[name] = _tags_of(ds)
        return by_table

    @cached_property
    def files(self) -> dict[str, dict[str, File]]:
        """The files of every table that can be listed, by their path below it."""
        by_table = {}
        for name in self.heads:
            with self._report.reading(f"{name}, files"):
                by_table[name] = files_of(self.tables, name)
        return by_table

    @cached_property
    def must_be_readable(self) -> dict[tuple[str, LanceRef], Record]:
        """Materialized versions that must be readable, of tables that are still there; each with its newest record."""
        return {
            (record.asset, record.ref): record
            for record in self.history.records.values()
            if self.is_here(record.ref) and (record.asset, record.ref) not in self.expired
        }

    @cached_property
    def data_version_prefixes(self) -> set[str]:
        """`table:id` of this lake's tables, as they are now and as its history names them."""
        here = {f"{name}:{identity[:6]}" for name, identity in self.ids.items()}
        return here | {record.data_version.rpartition("@")[0] for record in self.history.records.values()}

    def is_here(self, ref: LanceRef) -> bool:
        """Whether a version is of a table as it is now, not of one that was dropped since."""
        return self.ids.get(ref.table) == ref.table_id

    def version_here(self, data_version: str | None) -> int | None:
        """The version number in a data version; None unless it is of a table as it is now."""
        match = DATA_VERSION.fullmatch(data_version or "")
        if match is None or not self.ids.get(match["table"], "").startswith(match["id"]):
            return None
        return int(match["version"])

    def newest(self, asset: str) -> Record | None:
        """The last materialization of an asset, of its table as it is now."""
        own = [record for record in self.history.records.values() if record.asset == asset and self.is_here(record.ref)]
        return own[-1] if own else None

    def was_written_since(self) -> bool:
        """Whether somebody wrote since, dropped a table or made one."""
        return any(_version(self._open_again(name)) != _version(ds) for name, ds in self._opened.items())

    def _open_again(self, name: str) -> lance.LanceDataset | None:
        try:
            return self.tables.open(name)
        except (OSError, ValueError, RefusalError):
            return None

    def is_another_place(self, uri: str | None, table: str) -> bool:
        """Whether a place is that of the same table in another lake, which may be a copy of this one."""
        if uri is None or uri == self.tables.uri(table):
            return False
        return not place_at(uri, self.tables.s3).is_missing()  # a lake that was moved left nothing there


def _version(ds: lance.LanceDataset | None) -> tuple[str, int] | None:
    return None if ds is None else (table_id(ds), int(ds.version))


def _tags_of(ds: lance.LanceDataset) -> dict[str, int]:
    try:
        return {tag: int(content["version"]) for tag, content in ds.tags.list().items()}
    except RuntimeError as error:  # Lance raises it for a damaged tag file
        raise OSError(str(error)) from error
