"""Who made a commit: a step of an asset, upkeep, the lake's history itself, or somebody outside."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import lance

from mm_assets.engines.lance_commits import properties_of, transactions
from mm_assets.engines.lineage_rows import TABLE as LINEAGE
from mm_assets.lineage.refs import ASSETS, RUN, UPKEEP, Maintenance

# What maintenance does by commits that can carry no properties; none of them changes a row. The last one sets the
# numbers of new fragments aside, and is the only one for which pylance has no class.
REWRITE, INDEX, RESERVE = "Rewrite", "CreateIndex", "BaseOperation"
CHANGE_NO_ROW = {REWRITE, INDEX, RESERVE}


@dataclass(frozen=True)
class Commit:
    """A version of a table: what Lance calls its operation, and the properties that it carries."""

    version: int
    operation: str
    properties: dict[str, str]

    @property
    def assets(self) -> list[str]:
        """The assets whose rows or cells it holds."""
        return [name for name in self.properties.get(ASSETS, "").split(",") if name]


def commits_in(ds: lance.LanceDataset, versions: Iterable[int]) -> Iterator[Commit]:
    """The commits of versions, as far as they are still there."""
    for number, transaction in transactions(ds, versions):
        yield Commit(number, type(transaction.operation).__name__, properties_of(transaction))


def from_outside(
    commits: Iterable[Commit], table: str, identity: str, maintained: Iterable[Maintenance]
) -> Iterator[Commit]:
    """Those commits for which no step, no maintenance run and not the history itself accounts.

    Args:
        commits: of the table.
        table: its name.
        identity: its id.
        maintained: all work of maintenance on the lake.
    """
    spans = _spans(item for item in maintained if item.ref.table_id == identity)
    for commit in commits:
        if _is_told(commit) or (table == LINEAGE and RUN in commit.properties):
            continue
        upkeep = any(begun < commit.version <= ended for begun, ended in spans)
        if not (upkeep and commit.operation in CHANGE_NO_ROW):
            yield commit


def _spans(maintained: Iterable[Maintenance]) -> list[tuple[int, float]]:
    """Between which versions maintenance worked; where it was killed, up to where the next one began."""
    ordered = sorted(maintained, key=lambda item: item.ref.version)
    following = [*(item.ref.version for item in ordered[1:]), math.inf]
    return [
        (item.ref.version, after if item.ended is None else item.ended)
        for item, after in zip(ordered, following, strict=False)
    ]


def changes_outside(ds: lance.LanceDataset, after: int) -> list[Commit]:
    """The commits above a version of an asset's table that were made outside and may have changed its rows."""
    return changing(commits_in(ds, range(after + 1, ds.version + 1)))


def changing(commits: Iterable[Commit]) -> list[Commit]:
    """Those among the commits of an asset's table; maintenance makes none such, so the lake's history is not asked."""
    return [commit for commit in commits if not _is_told(commit) and commit.operation not in CHANGE_NO_ROW]


def _is_told(commit: Commit) -> bool:
    """Whether a commit says itself that a step or a fence has made it."""
    return ASSETS in commit.properties or UPKEEP in commit.properties
