"""The maker of a commit: a step, maintenance, the lake's history itself, or an outside writer."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import lance

from mm_assets.catalog import owned_table
from mm_assets.engines.lake.commits import properties_of, transactions
from mm_assets.engines.lake.schemas import only_brings_up
from mm_assets.engines.lake.tables import name_of
from mm_assets.history.rows import TABLE as LINEAGE
from mm_assets.lineage.properties import ASSETS, FENCE, RUN, SCHEMA, UPKEEP
from mm_assets.lineage.records import Maintenance

# Operations of maintenance whose commits can carry no properties; none of them changes a row. The last one reserves
# numbers for new fragments. Pylance has no class for it alone, and shows the base class.
REWRITE, INDEX, RESERVE = "Rewrite", "CreateIndex", "BaseOperation"
CHANGE_NO_ROW = {REWRITE, INDEX, RESERVE}
# Operations that write rows and cells, and the one that creates a table.
WRITES, CREATES = {"Update", "Merge"}, "Overwrite"


@dataclass(frozen=True)
class Commit:
    """A commit of a table.

    Args:
        table: its name.
        version: that the commit became.
        operation: Lance's name for it.
        properties: of the commit. Anybody can write them.
        removes: whether it removed rows.
        is_no_op: whether it left all rows as they were: a fence, or columns of a later release.
    """

    table: str
    version: int
    operation: str
    properties: dict[str, str]
    removes: bool = False
    is_no_op: bool = False

    @property
    def assets(self) -> list[str]:
        """The assets whose rows or cells it carries."""
        return [name for name in self.properties.get(ASSETS, "").split(",") if name]


def commits_in(ds: lance.LanceDataset, versions: Iterable[int]) -> Iterator[Commit]:
    """The commits of the versions that still exist."""
    table = name_of(ds)
    for number, transaction in transactions(ds, versions):
        name, properties = type(transaction.operation).__name__, properties_of(transaction)
        is_no_op = UPKEEP in properties and _is_no_op(ds, number, transaction.operation, properties)
        yield Commit(table, number, name, properties, _removes(transaction), is_no_op)


def _removes(transaction: lance.Transaction) -> bool:
    """Whether an update removes rows. Its fragments may also have lists of rows that earlier commits removed."""
    operation = transaction.operation
    if not isinstance(operation, lance.LanceOperation.Update):
        return False
    lists = [fragment.deletion_file for fragment in operation.updated_fragments]
    own = any(item is not None and item.read_version == transaction.read_version for item in lists)
    return own or bool(operation.removed_fragment_ids)


def _is_no_op(
    ds: lance.LanceDataset, number: int, operation: lance.LanceOperation.BaseOperation, properties: Mapping[str, str]
) -> bool:
    """Whether a version has the rows of the one before it: it is a fence, or adds null columns of a later release.

    A fence merges the table's present fragments. In earlier versions of the project it was a Restore.
    """
    if isinstance(operation, lance.LanceOperation.Restore):
        return FENCE in properties and bool(operation.version == number - 1)
    if not isinstance(operation, lance.LanceOperation.Merge) or not {FENCE, SCHEMA} & properties.keys():
        return False
    try:
        before = ds.checkout_version(number - 1)
    except OSError as error:
        if "not found" not in str(error).lower():
            raise
        return True  # maintenance removes the version that its fence replaced
    if FENCE in properties and operation.schema != before.lance_schema:
        return False
    return only_brings_up(before, operation)


def outside_writes(commits: Iterable[Commit], identity: str, maintained: Iterable[Maintenance]) -> Iterator[Commit]:
    """Commits that were made by no step, no maintenance run and not by the history itself.

    Args:
        commits: of one table.
        identity: its id.
        maintained: all maintenance of the lake.
    """
    spans = _spans(item for item in maintained if item.ref.table_id == identity)
    for commit in commits:
        upkeep = any(begun < commit.version <= ended for begun, ended in spans)
        if not (is_ours(commit) or (upkeep and commit.operation in CHANGE_NO_ROW)):
            yield commit


def _spans(maintained: Iterable[Maintenance]) -> list[tuple[int, float]]:
    """The spans of versions in which maintenance worked. A killed one reaches to the beginning of the next."""
    ordered = sorted(maintained, key=lambda item: item.ref.version)
    following = [*(item.ref.version for item in ordered[1:]), math.inf]
    return [
        (item.ref.version, after if item.ended is None else item.ended)
        for item, after in zip(ordered, following, strict=False)
    ]


def outside_row_changes(ds: lance.LanceDataset, after: int) -> list[Commit]:
    """Outside commits above a version of an asset's table that may have changed its rows."""
    return row_changes(commits_in(ds, range(after + 1, ds.version + 1)))


def row_changes(commits: Iterable[Commit]) -> list[Commit]:
    """The outside commits that may have changed rows. Maintenance changes none, so the history need not be read."""
    return [commit for commit in commits if not is_ours(commit) and commit.operation not in CHANGE_NO_ROW]


def is_ours(commit: Commit) -> bool:
    """Whether the commit's properties name one of our writers, and its operation is one that this writer makes."""
    return commit.is_no_op or (_is_of_history(commit) if commit.table == LINEAGE else _is_of_step(commit))


def _is_of_history(commit: Commit) -> bool:
    """Whether it is the history's own commit: it adds rows, or columns of a later release, and removes nothing."""
    return bool(commit.properties.get(RUN)) and _writes(commit) and not commit.removes


def _is_of_step(commit: Commit) -> bool:
    """Whether it is a step's commit: it carries assets of this table, or creates the table without rows."""
    if not commit.properties.get(RUN) or ASSETS not in commit.properties or not _writes(commit):
        return False
    own = all(owned_table(asset) == commit.table for asset in commit.assets)
    return own and (bool(commit.assets) or commit.version == 1)


def _writes(commit: Commit) -> bool:
    return commit.operation in WRITES or (commit.operation == CREATES and commit.version == 1)
