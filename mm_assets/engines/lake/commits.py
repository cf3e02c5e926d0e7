"""Commits to Lance that carry properties and are made exactly once, whoever else writes the table at that moment.

A commit is prepared on the table's newest version and, where another one came first, prepared again. What Lance would
let through beside another commit and should not, it is made to refuse: every commit that puts rows in by key also names
the table's first fragment as touched (the guard), so of two that began at one version the second is sent back to look
again. docs/decisions/0016 says why it is done this way.
"""

import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping

import lance
from lance.commit import CommitConflictError

from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.properties import ASSETS, FENCE, MARK

# Tries of one commit, and the longest wait (seconds) before one of them.
TRIES, LONGEST_WAIT_S = 40, 1.0

Prepare = Callable[[lance.LanceDataset], lance.LanceOperation.BaseOperation | None]
# Of a commit; a function where they are known only when it is prepared.
Properties = Mapping[str, str] | Callable[[], Mapping[str, str]]


class FencedError(RefusalError):
    """Files that this step had written may have been removed as orphans before it could commit them."""


def transactions(ds: lance.LanceDataset, versions: Iterable[int]) -> Iterator[tuple[int, lance.Transaction]]:
    """The transactions of versions, in their order; removed versions are left out."""
    for number in versions:
        try:
            yield number, ds.read_transaction(number)
        except OSError as error:
            if "not found" not in str(error).lower():
                raise


def properties_of(transaction: lance.Transaction) -> dict[str, str]:
    """Properties of a transaction ({} where it carries none)."""
    return dict(transaction.transaction_properties or {})


def commits_after(ds: lance.LanceDataset, version: int) -> Iterator[tuple[int, dict[str, str]]]:
    """Versions above `version` in rising order, with their transaction properties; removed versions are left out."""
    for number, transaction in transactions(ds, range(version + 1, ds.version + 1)):
        yield number, properties_of(transaction)


def commit_writes_asset(properties: Mapping[str, str], asset: str) -> bool:
    """Whether a commit holds rows or cells of an asset."""
    return asset in properties.get(ASSETS, "").split(",")


def commit(
    tables: Lake, table: str, prepare: Prepare, properties: Properties, written_at: int | None = None
) -> lance.LanceDataset | None:
    """Make one commit, exactly once.

    Args:
        tables: the lake.
        table: its name; it must exist.
        prepare: gives the operation for the table at its newest version, or None where nothing is left to do; called
            again on a newer version where another commit came first.
        properties: of the commit.
        written_at: the version at which files were begun that `prepare` did not write itself.

    Returns:
        The table at the new version; None where nothing was left to do.

    Raises:
        FencedError: the table was cleaned up since `written_at`: the files may be gone.
        OSError: others kept committing first, `TRIES` times; or the store failed.
    """
    mark = uuid.uuid4().hex
    checked_to = written_at
    for attempt in range(TRIES):
        ds = tables.open(table)
        if checked_to is not None:
            landed = _look_back(ds, checked_to, mark, fenced=written_at is not None)
            if landed is not None:  # the store's answer to an earlier try was lost
                return tables.open(table, landed)
        checked_to = ds.version
        operation = prepare(ds)
        if operation is None:
            return None
        values = properties() if callable(properties) else properties
        transaction = lance.Transaction(ds.version, operation, transaction_properties={**values, MARK: mark})
        try:
            return lance.LanceDataset.commit(ds, transaction)
        except OSError as error:
            if not is_conflict(error) or attempt == TRIES - 1:
                raise
        time.sleep(random.uniform(0, min(LONGEST_WAIT_S, 0.01 * 2**attempt)))
    raise AssertionError("unreachable")


def is_conflict(error: OSError) -> bool:
    """Whether another commit came first (Lance has a class for some of these, and words for the others)."""
    words = str(error).lower()
    return isinstance(error, CommitConflictError) or "conflict" in words or "too many concurrent writers" in words


def _look_back(ds: lance.LanceDataset, checked_to: int, mark: str, *, fenced: bool) -> int | None:
    """The version at which our own earlier try landed after all."""
    commits = dict(commits_after(ds, checked_to))
    landed = [version for version, properties in commits.items() if properties.get(MARK) == mark]
    if landed:
        return landed[0]
    gap = len(commits) < ds.version - checked_to
    if fenced and (gap or any(FENCE in properties for properties in commits.values())):
        raise FencedError(
            f"{ds.uri.rsplit('/', 1)[-1]} was cleaned up (maintenance) while this step wrote to it, and files that it "
            "had not yet committed may be gone: run the step again, it goes on after its last commit"
        )
    return None


def fence(tables: Lake, table: str, properties: Mapping[str, str]) -> lance.LanceDataset:
    """Make every write that was begun before now fail when it wants to commit; the content stays as it is.

    A Merge of what is there conflicts with every change of rows or files, whichever comes first. A Restore does not: it
    undoes what was committed since its look at the table.
    """

    done = commit(tables, table, no_op, {**properties, FENCE: "true"})
    assert done is not None
    return done


def no_op(ds: lance.LanceDataset) -> lance.LanceOperation.BaseOperation:
    """The operation of a commit that changes nothing: what it says stands in its properties."""
    return lance.LanceOperation.Merge([fragment.metadata for fragment in ds.get_fragments()], ds.schema)


def tag(ds: lance.LanceDataset, name: str, version: int) -> None:
    """Protect a version; doing it again changes nothing."""
    if name not in ds.tags.list():
        try:
            ds.tags.create(name, version)
        except ValueError:  # another process did it meanwhile
            if name not in ds.tags.list():
                raise
