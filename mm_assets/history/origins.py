"""Who made a commit: a step of an asset, upkeep, the lake's history itself, or somebody outside."""

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

# What maintenance does by commits that can carry no properties; none of them changes a row. The last one sets the
# numbers of new fragments aside, and is the only one for which pylance has no class.
REWRITE, INDEX, RESERVE = "Rewrite", "CreateIndex", "BaseOperation"
CHANGE_NO_ROW = {REWRITE, INDEX, RESERVE}
# What `lance_commits` makes of rows and cells; and what makes a table, which has no version before.
WRITES, CREATES = {"Update", "Merge"}, "Overwrite"


@dataclass(frozen=True)
class Commit:
    """A version of a table: what Lance calls its operation, and the properties that it carries.

    Args:
        table: its name.
        version: of the table.
        operation: as Lance calls it.
        properties: what the commit says of itself, which anybody can write.
        removes: whether it took rows out.
        is_no_op: whether it leaves all rows as they were at the version before: a fence, or columns of a later release.
    """

    table: str
    version: int
    operation: str
    properties: dict[str, str]
    removes: bool = False
    is_no_op: bool = False

    @property
    def assets(self) -> list[str]:
        """The assets whose rows or cells it holds."""
        return [name for name in self.properties.get(ASSETS, "").split(",") if name]


def commits_in(ds: lance.LanceDataset, versions: Iterable[int]) -> Iterator[Commit]:
    """The commits of versions, as far as they are still there."""
    table = name_of(ds)
    for number, transaction in transactions(ds, versions):
        name, properties = type(transaction.operation).__name__, properties_of(transaction)
        is_no_op = UPKEEP in properties and _is_no_op(ds, number, transaction.operation, properties)
        yield Commit(table, number, name, properties, _removes(transaction), is_no_op)


def _removes(transaction: lance.Transaction) -> bool:
    """Whether an update takes rows out; the fragments that it names may have lists of rows that went before."""
    operation = transaction.operation
    if not isinstance(operation, lance.LanceOperation.Update):
        return False
    lists = [fragment.deletion_file for fragment in operation.updated_fragments]
    own = any(item is not None and item.read_version == transaction.read_version for item in lists)
    return own or bool(operation.removed_fragment_ids)


def _is_no_op(
    ds: lance.LanceDataset, number: int, operation: lance.LanceOperation.BaseOperation, properties: Mapping[str, str]
) -> bool:
    """Whether a version has the rows of the one before it: a fence, or columns of a later release that are null.

    A fence puts the table in its own place (earlier versions of the project restored it).
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
        return True  # maintenance removes what its fence has replaced
    if FENCE in properties and operation.schema != before.lance_schema:
        return False
    return only_brings_up(before, operation)


def outside_writes(commits: Iterable[Commit], identity: str, maintained: Iterable[Maintenance]) -> Iterator[Commit]:
    """Those commits for which no step, no maintenance run and not the history itself accounts.

    Args:
        commits: of one table.
        identity: its id.
        maintained: all work of maintenance on the lake.
    """
    spans = _spans(item for item in maintained if item.ref.table_id == identity)
    for commit in commits:
        upkeep = any(begun < commit.version <= ended for begun, ended in spans)
        if not (is_ours(commit) or (upkeep and commit.operation in CHANGE_NO_ROW)):
            yield commit


def _spans(maintained: Iterable[Maintenance]) -> list[tuple[int, float]]:
    """Between which versions maintenance worked; where it was killed, up to where the next one began."""
    ordered = sorted(maintained, key=lambda item: item.ref.version)
    following = [*(item.ref.version for item in ordered[1:]), math.inf]
    return [
        (item.ref.version, after if item.ended is None else item.ended)
        for item, after in zip(ordered, following, strict=False)
    ]


def outside_row_changes(ds: lance.LanceDataset, after: int) -> list[Commit]:
    """The commits above a version of an asset's table that were made outside and may have changed its rows."""
    return row_changes(commits_in(ds, range(after + 1, ds.version + 1)))


def row_changes(commits: Iterable[Commit]) -> list[Commit]:
    """Those among the commits of an asset's table; maintenance makes none such, so the lake's history is not asked."""
    return [commit for commit in commits if not is_ours(commit) and commit.operation not in CHANGE_NO_ROW]


def is_ours(commit: Commit) -> bool:
    """Whether a commit says itself who of us has made it, and does what that one does."""
    return commit.is_no_op or (_is_of_history(commit) if commit.table == LINEAGE else _is_of_step(commit))


def _is_of_history(commit: Commit) -> bool:
    """The history's own commits add rows, or columns that an earlier version of the project did not have."""
    return bool(commit.properties.get(RUN)) and _writes(commit) and not commit.removes


def _is_of_step(commit: Commit) -> bool:
    """A step writes assets of this table; one that creates the table may not have any rows to write yet."""
    if not commit.properties.get(RUN) or ASSETS not in commit.properties or not _writes(commit):
        return False
    own = all(owned_table(asset) == commit.table for asset in commit.assets)
    return own and (bool(commit.assets) or commit.version == 1)


def _writes(commit: Commit) -> bool:
    return commit.operation in WRITES or (commit.operation == CREATES and commit.version == 1)
