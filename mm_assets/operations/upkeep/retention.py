"""Which versions must stay: those that production, a live checkpoint, a recent materialization or a refresh needs.

Every other version may expire. Nothing here opens a table: see `job`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mm_assets.catalog import keys_where
from mm_assets.lineage.ancestry import walk
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef, tag_name, version_of

TRAINED = keys_where(lambda row: row.trains)
# Reasons why versions stay, for the report.
LAST, CHECKPOINT, PROGRESS = "a recent materialization", "a live checkpoint", "a refresh begins here"
LAST_COMMIT = "the last commit of a run"


@dataclass(frozen=True)
class Kept:
    """Versions that stay, by table, each with the reason."""

    reasons: dict[str, dict[int, str]] = field(default_factory=dict)

    def add(self, ref: LanceRef, reason: str) -> None:
        """Adds a version that stays; its first reason is kept."""
        self.reasons.setdefault(ref.table, {}).setdefault(ref.version, reason)

    def of(self, table: str) -> dict[int, str]:
        """Reasons by version."""
        return self.reasons.get(table, {})


@dataclass(frozen=True)
class Live:
    """A checkpoint that is in production, or the newest: its digest, and the data versions that it was made from."""

    digest: str
    inputs: Mapping[str, str]


def needed(history: Mapping[str, Record], ids: Mapping[str, str], live: Iterable[Live], keep_last: int) -> Kept:
    """The versions that must stay.

    Args:
        history: all materializations by id, oldest first.
        ids: the id of each table as it is now; versions of a table that was dropped since are no concern.
        live: the checkpoints that are alive.
        keep_last: so many materialized versions of each asset stay.

    Raises:
        RefusalError: the history has lost a record that a live checkpoint was made from.
    """
    kept = Kept()
    here = [record for record in history.values() if ids.get(record.ref.table) == record.ref.table_id]
    for own in _by_asset(here).values():
        for ref in list(dict.fromkeys(record.ref for record in reversed(own)))[:keep_last]:
            kept.add(ref, LAST)
        for table, version in _starts(own[-1]):
            if table in ids:
                kept.add(LanceRef(table, ids[table], version), PROGRESS)
    for checkpoint in live:
        for ref in _inputs(checkpoint, history, ids):
            kept.add(ref, f"{CHECKPOINT} ({checkpoint.digest})")
    return kept


def last_commits(commits: Sequence[tuple[int, str]], record: Record | None) -> set[int]:
    """Commits of an asset that tell the next run where to go on, and whether two runs wrote the asset at once.

    Args:
        commits: version and run of each, oldest first.
        record: the newest of the asset.

    Returns:
        Versions: of the commits that came after the record the last one, and the last of another run than that; the
        last one of another run that fell between the record's watermark and its version.
    """
    done = record.ref.version if record else 0
    last = {run: number for number, run in commits if number > done}
    kept = set(sorted(last.values())[-2:])
    if record:
        others = [n for n, run in commits if _looked_from(record) < n < done and run != record.run_id]
        kept.update(others[-1:])
    return kept


def _starts(record: Record) -> Iterator[tuple[str, int]]:
    """Versions, by table, from which the next refresh of an asset looks at what has changed."""
    yield from record.progress.inputs.items()
    if record.progress.compared_to is not None:
        yield record.ref.table, record.progress.compared_to


def _looked_from(record: Record) -> int:
    """The oldest version of the asset's own table that the next run may have to look back to."""
    progress = record.progress
    own = (progress.inputs.get(record.ref.table), progress.compared_to, progress.scanned_to, progress.confirmed_at)
    return min(filter(None, own), default=record.ref.version)


def _by_asset(records: Iterable[Record]) -> dict[str, list[Record]]:
    by_asset: dict[str, list[Record]] = {}
    for record in records:
        by_asset.setdefault(record.asset, []).append(record)
    return by_asset


def _inputs(live: Live, history: Mapping[str, Record], ids: Mapping[str, str]) -> Iterable[LanceRef]:
    """The inputs of a checkpoint by the registry, and all versions that its newest record leads back to."""
    for data_version in live.inputs.values():
        table, _, rest = data_version.partition(":")
        if ids.get(table, "").startswith(rest.partition("@")[0]):
            yield LanceRef(table, ids[table], version_of(data_version))
    records = [record for record in history.values() if record.metadata.get("digest") == live.digest]
    trainings = [record for record in records if record.asset in TRAINED]
    for record in walk(trainings[-1], history) if trainings else ():
        if ids.get(record.ref.table) == record.ref.table_id:
            yield record.ref


@dataclass(frozen=True)
class Tagged:
    """A tag of a table, and the version that it protects."""

    name: str
    version: int


def expired_tags(records: Iterable[Record], tags: Sequence[Tagged], kept: Mapping[int, str]) -> dict[str, Record]:
    """Tags that no version needs any more, with the record that each of them stands for.

    Args:
        records: of the table that has the tags.
        tags: of the table; one that names no materialization (production, a person's own) protects its version.
        kept: reasons by version.
    """
    records_by_tag = {tag_name(record.asset, record.ref.version): record for record in records}
    protected = {tag.version for tag in tags if tag.name not in records_by_tag}
    return {
        tag.name: records_by_tag[tag.name]
        for tag in sorted(tags, key=lambda tag: (tag.version, tag.name))
        if tag.name in records_by_tag and tag.version not in kept and tag.version not in protected
    }
