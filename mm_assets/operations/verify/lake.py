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
    """What is compared with each other; read once. Tables that cannot be read are told to the report, and left out."""

    def __init__(self, tables: Lake, report: Report, names: Iterable[str] = ALL_TABLES) -> None:
        """Read what is compared.

        Args:
            tables: the lake.
            report: where damage is told.
            names: of the tables that are looked at, all their versions; see `meet`.
        """
        self.tables, self._report = tables, report
        self.heads: dict[str, lance.LanceDataset] = {}
        self.commits: dict[str, dict[int, Commit]] = {}
        self.ids: dict[str, str] = {}
        # First: a row that is added while the tables are read is then seen by `moved`.
        self._opened = {LINEAGE: self._open(LINEAGE)}
        self.history = self._history()
        self.expired = {(item.asset, item.ref) for item in self.history.expiries}
        for name in names:
            self.meet(name)

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

    def meet(self, name: str, versions: Sequence[int] | None = None) -> None:
        """Look at a table, where it is there: at the commits of some of its versions, or of all."""
        if name not in self._opened:
            self._opened[name] = self._open(name)
        ds = self._opened[name]
        if ds is None:
            return
        with self._report.reading(name):
            found = commits_in(ds, [item.number for item in versions_of(ds)] if versions is None else versions)
            self.commits[name] = {commit.version: commit for commit in found}
            self.heads[name], self.ids[name] = ds, table_id(ds)

    @cached_property
    def finished(self) -> dict[tuple[str, str], int]:
        """The version at which a run has materialized an asset, by asset and run."""
        found: dict[tuple[str, str], int] = {}
        for record in self.history.records.values():
            if self.is_here(record.ref):
                key = (record.asset, record.run_id)
                found[key] = max(found.get(key, 0), record.ref.version)
        return found

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
    def forgotten(self) -> bool:
        """Whether several runs wrote records and the history has none: the first one that is killed stands alone."""
        return not self.history.records and len({draft.run_id for draft in self.drafts}) > 1

    @cached_property
    def untold(self) -> set[str]:
        """Assets of which the record that the last commit carries is not in the history."""
        last = {draft.asset: draft for draft in self.drafts}
        return {asset for asset, draft in last.items() if draft.id not in self.history.records}

    @cached_property
    def tags(self) -> dict[str, dict[str, int]]:
        """Version by tag, of every table whose tags can be read."""
        found = {}
        for name, ds in self.heads.items():
            with self._report.reading(f"{name}, tags"):
                found[name] = _tags_of(ds)
        return found

    @cached_property
    def files(self) -> dict[str, dict[str, File]]:
        """The files of every table that can be listed, by their path below it."""
        found = {}
        for name in self.heads:
            with self._report.reading(f"{name}, files"):
                found[name] = files_of(self.tables, name)
        return found

    @cached_property
    def promised(self) -> dict[tuple[str, LanceRef], Record]:
        """Materialized versions that must be readable, of tables that are still there; each with its newest record."""
        return {
            (record.asset, record.ref): record
            for record in self.history.records.values()
            if self.is_here(record.ref) and (record.asset, record.ref) not in self.expired
        }

    @cached_property
    def known_tables(self) -> set[str]:
        """What the data versions of this lake begin with: of its tables as they are, and as its history knows them."""
        here = {f"{name}:{identity[:6]}" for name, identity in self.ids.items()}
        return here | {record.data_version.rpartition("@")[0] for record in self.history.records.values()}

    def is_here(self, ref: LanceRef) -> bool:
        """Whether a version is of a table as it is now, not of one that was dropped since."""
        return self.ids.get(ref.table) == ref.table_id

    def version_here(self, data_version: str | None) -> int | None:
        """The version that a data version names, of a table as it is now; None for any other."""
        named = DATA_VERSION.fullmatch(data_version or "")
        if named is None or not self.ids.get(named["table"], "").startswith(named["id"]):
            return None
        return int(named["version"])

    def newest(self, asset: str) -> Record | None:
        """The last materialization of an asset, of its table as it is now."""
        own = [record for record in self.history.records.values() if record.asset == asset and self.is_here(record.ref)]
        return own[-1] if own else None

    def moved(self) -> bool:
        """Whether somebody wrote since, dropped a table or made one."""
        return any(_version(self._now(name)) != _version(ds) for name, ds in self._opened.items())

    def _now(self, name: str) -> lance.LanceDataset | None:
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
        return {tag: int(found["version"]) for tag, found in ds.tags.list().items()}
    except RuntimeError as error:  # which Lance has for a tag's file that is damaged
        raise OSError(str(error)) from error
