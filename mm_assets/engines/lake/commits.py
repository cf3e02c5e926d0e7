"""Commits to Lance that carry properties and are made exactly once, whoever else writes the table at that moment.

A commit is prepared on the table's newest version. Where another commit came first, it is prepared again.

Lance accepts two inserts of one key that began at the same version. The guard makes it refuse the second one: every
insert by key also names the table's first fragment as touched. A worked example, writers A and B:

    A and B read version 7, and both prepare an insert of the key "cat".
    A commits version 8: one new fragment, and fragment 0 (the guard) named as touched.
    B commits: Lance sees that version 8 touched fragment 0 too, and refuses.
    B reads version 8, finds "cat" there, and `prepare` gives None: nothing is left to do.

Two other cases have their examples below: an answer that was lost (`_look_back`), and a clean-up (`fence`).
docs/decisions/0016 says why it is done this way.
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
# The properties of a commit, or a function that gives them once the commit is prepared.
Properties = Mapping[str, str] | Callable[[], Mapping[str, str]]


class FencedError(RefusalError):
    """Files that this step had written may have been removed as orphans before it could commit them."""


def transactions(ds: lance.LanceDataset, versions: Iterable[int]) -> Iterator[tuple[int, lance.Transaction]]:
    """The transactions of versions, in their order; versions that were removed are skipped."""
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
    """Versions above `version` in rising order, with their properties; versions that were removed are skipped."""
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
        prepare: gives the operation for the table at its newest version, or None where nothing is left to do. Where
            another commit came first, it is called again on the newer version.
        properties: of the commit.
        written_at: the table's version when workers began to write the files of this commit. None: `prepare` writes
            its files itself.

    Returns:
        The table at the new version; None where nothing was left to do.

    Raises:
        FencedError: the table was fenced since `written_at`, so its clean-up may have removed the files.
        OSError: another commit came first `TRIES` times, or the store failed.
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
    """Whether another commit came first. Lance has an error class for some conflicts, and only words for others."""
    words = str(error).lower()
    return isinstance(error, CommitConflictError) or "conflict" in words or "too many concurrent writers" in words


def _look_back(ds: lance.LanceDataset, checked_to: int, mark: str, *, fenced: bool) -> int | None:
    """Look for our own earlier try in the versions above `checked_to`; give the version that it became, or None.

    A worked example. A try on version 7 becomes version 8, but the store's answer is lost. Lance reports a conflict.
    The next try finds its own mark in version 8 and stops: a second commit would write the rows twice.

    The same look finds a fence. Workers wrote files at version 7, and maintenance made version 8 a fence. The files had
    no version then, so the clean-up may have removed them. The step is refused. A version that was removed before it
    could be read (a gap) may have been a fence, and the step is refused too.

    Args:
        ds: the table at its newest version.
        checked_to: the version up to which we have looked.
        mark: of our commit.
        fenced: whether a fence refuses the commit.

    Raises:
        FencedError: see above.
    """
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
    """Refuse every write that began before now; the content stays as it is.

    The fence merges the table's present fragments, which changes nothing. Lance lets no change of rows or files pass
    beside a Merge. It lets one pass beside a Restore, which then undoes it.

    A worked example, maintenance M and step S:

        S reads version 7, and its workers write a file that no version names yet.
        M commits version 8, the fence, and may then remove that file.
        S commits on version 7: Lance refuses. S looks back, finds the fence in version 8, and raises FencedError.
        S runs again on version 8 and goes on after its last commit.

    The other order: S commits version 8 first, and Lance refuses the fence. M then fences version 8, as version 9. The
    file of S has a version now, and stays.
    """

    done = commit(tables, table, no_op, {**properties, FENCE: "true"})
    assert done is not None
    return done


def no_op(ds: lance.LanceDataset) -> lance.LanceOperation.BaseOperation:
    """The operation of a commit that changes nothing and is made for its properties alone."""
    return lance.LanceOperation.Merge([fragment.metadata for fragment in ds.get_fragments()], ds.schema)


def tag(ds: lance.LanceDataset, name: str, version: int) -> None:
    """Protect a version by a tag; tagging it again changes nothing."""
    if name not in ds.tags.list():
        try:
            ds.tags.create(name, version)
        except ValueError:  # another process did it meanwhile
            if name not in ds.tags.list():
                raise
