"""Keep the tables of a lake in shape: compaction, indexes, retention, and what crashes left behind."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import lance

from mm_assets.engines.lake.commits import is_conflict
from mm_assets.engines.lake.files import remove_empty_folders
from mm_assets.engines.lake.tables import Lake, table_id
from mm_assets.engines.lake.upkeep.cleanup import Orphans, commits_of, remove_orphans, remove_versions, versions_of
from mm_assets.engines.lake.upkeep.compaction import Compacted, compact
from mm_assets.engines.lake.upkeep.indexes import keep_indexes
from mm_assets.engines.models.registry import TABLE as MODELS
from mm_assets.history.heal import heal
from mm_assets.history.history import History
from mm_assets.history.maintenance import expire, maintaining
from mm_assets.history.rows import ALL_TABLES
from mm_assets.history.rows import TABLE as LINEAGE
from mm_assets.lineage.properties import ASSETS, RECORDS, RUN
from mm_assets.lineage.records import Expiry, Record
from mm_assets.lineage.refs import LanceRef
from mm_assets.operations.upkeep.leftovers import Leftover, abort_uploads, remove_leftovers
from mm_assets.operations.upkeep.retention import LAST_COMMIT, Kept, Live, Tagged, expired_tags, last_commits, needed
from mm_assets.operations.upkeep.state import TableState, state_of
from mm_assets.settings import UpkeepSettings
from mm_assets.stages.evaluate.tables import EVALUATIONS, current_production

STEP = "maintenance"


@dataclass
class TableReport:
    """What was done to one table."""

    table: str
    before: TableState
    after: TableState
    compacted: Compacted = field(default_factory=Compacted)
    indexes: list[str] = field(default_factory=list)
    expired: list[Expiry] = field(default_factory=list)
    versions_removed: int = 0
    orphans: Orphans | None = field(default_factory=Orphans)  # None: the table is being written
    seconds: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(
            self.before.version != self.after.version
            or self.expired
            or self.versions_removed
            or (self.orphans and self.orphans.files)
        )


@dataclass(frozen=True)
class Upkeep:
    """What was done to a lake."""

    tables: list[TableReport]
    leftovers: list[Leftover] = field(default_factory=list)
    uploads_aborted: int | None = 0  # None: the store does not tell which there are

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.leftovers or self.uploads_aborted) or any(report.changed for report in self.tables)


def maintain(tables: Lake, settings: UpkeepSettings, run_id: str, log: Callable[[str], None]) -> Upkeep:
    """Bring all tables of a lake into shape; running it again when nothing changed makes no version.

    Args:
        tables: the lake; others may write it meanwhile.
        settings: how.
        run_id: of the run, which expiries and fences name.
        log: where a line goes.

    Raises:
        RefusalError: the lake's history has lost a record that a live checkpoint was made from.
    """
    return _Maintenance(tables, settings, run_id, log).run()


class _Maintenance:
    """One pass over a lake. It can be cut off anywhere: the next pass does the rest."""

    def __init__(self, tables: Lake, settings: UpkeepSettings, run_id: str, log: Callable[[str], None]) -> None:
        self._tables, self._settings, self._run_id, self._log = tables, settings, run_id, log
        self._reports: dict[str, TableReport] = {}
        for name in ALL_TABLES:
            self._add_table(name)

    def _add_table(self, name: str) -> None:
        if name not in self._reports and self._tables.exists(name):
            state = state_of(self._tables, name)
            self._reports[name] = TableReport(name, state, state)

    def run(self) -> Upkeep:
        for name in [name for name in self._reports if name != LINEAGE]:
            self._compact_and_index(name)
        kept, judged = self._expire_versions()
        self._add_table(LINEAGE)  # the expiries may have made it
        if LINEAGE in self._reports:
            self._compact_and_index(LINEAGE)
        for name in self._reports:
            # Only the newest version of the history is read.
            self._remove_unneeded(name, kept, judged[name] if name != LINEAGE else self._tables.open(name).version)
        before = time.time() - self._settings.scratch_seconds
        leftovers, aborted = remove_leftovers(self._tables, before), abort_uploads(self._tables, before)
        for item in leftovers:
            self._log(f"{item.name} removed: {item.files:,} files of a run that was killed")
        if aborted:
            self._log(f"{aborted:,} uploads aborted that never ended")
        return Upkeep(list(self._reports.values()), leftovers, aborted)

    @contextmanager
    def _report(self, name: str) -> Iterator[TableReport]:
        """The report of a table; its seconds grow by the time of the block."""
        began = time.monotonic()
        yield self._reports[name]
        self._reports[name].seconds += time.monotonic() - began

    def _compact_and_index(self, name: str) -> None:
        """Compacts a table and keeps its indexes up to date."""
        with self._report(name) as report, maintaining(self._tables, name, self._run_id, STEP) as begin:
            report.compacted = compact(self._tables, name, self._settings.target_file_bytes, self._log, begin)
            if report.compacted.skipped:
                self._log(f"{name}: compaction skipped, the table is being written")
            report.indexes = keep_indexes(self._tables, name, create=name in self._settings.indexes, begin=begin)
            for line in report.indexes:
                self._log(line)

    def _expire_versions(self) -> tuple[Kept, dict[str, int]]:
        """Decide which versions stay, record the others as expired, then delete their tags.

        Returns:
            What stays, and the newest version of each table when it was judged.
        """
        heads = {name: self._tables.open(name) for name in self._reports}
        history = History.read(self._tables)
        commits = {name: self._commits(ds, history) for name, ds in heads.items()}
        ids = {name: table_id(ds) for name, ds in heads.items()}
        kept = needed(history.records, ids, self._live_checkpoints(heads), self._settings.keep_last)
        for name, by_asset in commits.items():
            for asset, own_commits in by_asset.items():
                for version in last_commits(own_commits, history.newest.get(asset)):
                    kept.add(LanceRef(name, ids[name], version), LAST_COMMIT)
        expiring = {name: self._tags_to_delete(ds, name, history.records, kept) for name, ds in heads.items()}
        for name, tags in expiring.items():
            self._reports[name].expired = [self._expiry(record) for record in tags.values()]
        expiries = [item for report in self._reports.values() for item in report.expired]
        if expiries:
            expire(self._tables, expiries)
            self._log(f"{len(expiries):,} materialized versions expired, see lineage.lance")
        for name, tags in expiring.items():
            for tag in tags.keys() & heads[name].tags.list().keys():
                heads[name].tags.delete(tag)
        return kept, {name: int(ds.version) for name, ds in heads.items()}

    def _commits(self, ds: lance.LanceDataset, history: History) -> dict[str, list[tuple[int, str]]]:
        """Version and run of every commit of a table's assets, oldest first.

        A record that a crash kept from the history is written now: the commit that carries it may be removed.
        """
        commits: dict[str, list[tuple[int, str]]] = {}
        lost: set[str] = set()
        for number, properties in commits_of(ds):
            for asset in filter(None, properties.get(ASSETS, "").split(",")):
                commits.setdefault(asset, []).append((number, properties.get(RUN, "")))
            drafts = json.loads(properties.get(RECORDS, "[]"))
            lost.update(draft["asset"] for draft in drafts if draft["id"] not in history.records)
        for asset in lost:
            heal(history, asset)
        return commits

    def _live_checkpoints(self, heads: dict[str, lance.LanceDataset]) -> list[Live]:
        """The checkpoint in production and the newest one."""
        if MODELS not in heads:
            return []
        rows = heads[MODELS].to_table(columns=["digest", "inputs", "created_at"], filter="kind = 'checkpoint'")
        inputs = {row["digest"]: json.loads(row["inputs"]) for row in rows.sort_by("created_at").to_pylist()}
        production = current_production(heads[EVALUATIONS]) if EVALUATIONS in heads else None
        alive = {production, *list(inputs)[-1:]} - {None}
        return [Live(digest, inputs.get(digest, {})) for digest in alive]

    def _tags_to_delete(
        self, ds: lance.LanceDataset, name: str, history: dict[str, Record], kept: Kept
    ) -> dict[str, Record]:
        own_records = [record for record in history.values() if record.ref.table_id == table_id(ds)]
        tags = [Tagged(tag, content["version"]) for tag, content in ds.tags.list().items()]
        return expired_tags(own_records, tags, kept.of(name))

    def _expiry(self, record: Record) -> Expiry:
        reason = {"reason": "retention", "keep_last": self._settings.keep_last}
        return Expiry(record.asset, record.ref, self._run_id, STEP, reason, datetime.now(UTC))

    def _remove_unneeded(self, name: str, kept: Kept, up_to: int) -> None:
        """Removes the versions up to `up_to` that nothing needs, and files of no version."""
        with self._report(name) as report:
            before = time.time() - self._settings.grace_seconds
            report.versions_removed = self._remove_versions(name, kept, up_to)
            report.orphans = self._remove_orphans(name, before)
            if report.orphans and report.orphans.files:  # the fence replaced a version
                report.versions_removed += self._remove_versions(name, kept, up_to)
            remove_empty_folders(self._tables, name, before)
            report.after = state_of(self._tables, name)
        if report.changed:
            self._log(f"{name}: {report.before.against(report.after)}")

    def _remove_versions(self, name: str, kept: Kept, up_to: int) -> int:
        ds, before = self._tables.open(name), time.time() - self._settings.grace_seconds
        protected = {*kept.of(name), *(content["version"] for content in ds.tags.list().values())}
        judged = [version for version in versions_of(ds) if version.number <= up_to]
        superseded = {version.number for version in judged if version.superseded_before(before)}
        return remove_versions(ds, superseded - protected)

    def _remove_orphans(self, name: str, before: float) -> Orphans | None:
        try:
            orphans = remove_orphans(self._tables, name, self._run_id, before)
        except OSError as error:
            if not is_conflict(error):
                raise
            self._log(f"{name}: files without a version left alone, the table is being written")
            return None
        if orphans.files:
            self._log(f"{name}: {orphans.files:,} files of no version removed, {orphans.num_bytes:,} bytes")
        return orphans
