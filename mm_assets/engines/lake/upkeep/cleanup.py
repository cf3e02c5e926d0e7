"""Removal of old versions, and of orphans: files that no version names, which a crash leaves.

A file without a version may also belong to a writer that has not committed yet. So the table is fenced first: every
write that began before the fence is refused. Then only files that are older than the fence are removed.
docs/decisions/0017 says why this order is needed.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta

import lance

from mm_assets.engines.lake.commits import fence, properties_of, transactions
from mm_assets.engines.lake.files import files_of, remove_files
from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.properties import UPKEEP

# No version is so old, so Lance's clean-up names only files without a version.
NEVER = timedelta(days=36_500)
MOST_FILES = 10**9


@dataclass(frozen=True)
class Orphans:
    """Count and bytes of the files without a version that were removed."""

    files: int = 0
    num_bytes: int = 0


@dataclass(frozen=True)
class Version:
    """A version of a table, and when the next one replaced it (seconds since 1970; None: it is the newest)."""

    number: int
    superseded: float | None

    def superseded_before(self, moment: float) -> bool:
        """Whether a newer version existed before that moment."""
        return self.superseded is not None and self.superseded < moment


def versions_of(ds: lance.LanceDataset) -> list[Version]:
    """All existing versions, oldest first."""
    versions = sorted(ds.versions(), key=lambda item: item["version"])
    times: list[float | None] = [item["timestamp"].timestamp() for item in versions[1:]]
    return [Version(item["version"], time) for item, time in zip(versions, [*times, None], strict=True)]


def commits_of(ds: lance.LanceDataset) -> Iterator[tuple[int, dict[str, str]]]:
    """All existing versions, oldest first, with the properties of their commits."""
    for number, transaction in transactions(ds, [version.number for version in versions_of(ds)]):
        yield number, properties_of(transaction)


def remove_versions(ds: lance.LanceDataset, versions: Collection[int]) -> int:
    """Remove versions and the files that only they name; tagged versions and the newest always stay.

    Returns:
        How many versions were removed.
    """
    if not versions:
        return 0
    stats = ds.cleanup_old_versions(versions=sorted(versions), error_if_tagged_old_versions=False)
    return int(stats.old_versions)


def remove_orphans(tables: Lake, table: str, run_id: str, older_than: float) -> Orphans:
    """Remove the files that no version names, after a fence. Where there are none, no fence is made.

    Args:
        tables: the lake.
        table: its name.
        run_id: of the maintenance run; the fence names it.
        older_than: only files written before this moment (seconds since 1970) are removed.

    Raises:
        OSError: other commits came before the fence in every try.
    """
    files = files_of(tables, table)
    before = {path for path in _unreferenced(tables.open(table), files) if files[path].written < older_than}
    if not before:
        return Orphans()
    ds = fence(tables, table, {UPKEEP: run_id})
    orphans = sorted(before & _unreferenced(ds, files))
    remove_files(tables, table, orphans)
    return Orphans(len(orphans), sum(files[path].num_bytes for path in orphans))


def _unreferenced(ds: lance.LanceDataset, files: Collection[str]) -> set[str]:
    """The files that no version names.

    Lance's own clean-up tells the data and index files. It skips young lists of removed rows, transactions and
    unfinished files. Those are compared here with the names in each version.
    """
    explanation = ds.explain_cleanup_old_versions(
        older_than=NEVER, delete_unverified=True, include_files=True, max_files=MOST_FILES
    )
    beginning = f"{ds.uri.rstrip('/').rsplit('/', 1)[-1]}/"
    named = {
        file.path.rpartition(beginning)[2] for file in explanation.candidate_files if file.kind in ("data", "index")
    }
    small = {path for path in files if path.startswith(("_deletions/", "_transactions/")) or "/.tmp" in path}
    return (named & set(files)) | (small - set(_named_by_versions(ds)) if small else set())


def _named_by_versions(ds: lance.LanceDataset) -> Iterator[str]:
    """Paths of the lists of removed rows and of the transactions that a version names."""
    for number in (item["version"] for item in ds.versions()):
        version = ds.checkout_version(number)
        for fragment in version.get_fragments():
            removed = fragment.metadata.deletion_file
            if removed is not None:
                yield removed.path(fragment.fragment_id)
        transaction = version.read_transaction(number)
        yield f"_transactions/{transaction.read_version}-{transaction.uuid}.txn"
