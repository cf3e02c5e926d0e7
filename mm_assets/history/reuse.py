"""Whether what an asset wrote last is still what its table holds."""

from collections.abc import Iterable

import lance

from mm_assets.history.origins import Commit, commits_in, outside_row_changes, row_changes
from mm_assets.lineage.properties import RUN
from mm_assets.lineage.records import Record


def others_wrote(ds: lance.LanceDataset, asset: str, after: int, run_id: str) -> bool:
    """Whether another run committed rows or cells of an asset above version `after`."""
    return _by_others(commits_in(ds, range(after + 1, ds.version + 1)), asset, run_id)


def _by_others(commits: Iterable[Commit], asset: str, run_id: str) -> bool:
    return any(asset in commit.assets and commit.properties.get(RUN) != run_id for commit in commits)


def outside_versions_since(ds: lance.LanceDataset, *records: Record | None) -> dict[str, list[int]]:
    """Versions that were committed outside since the last pass of each asset over its table; the commits are read once.

    An asset with such versions has to compare its table as a whole.

    Args:
        ds: the table of the assets, at its newest version.
        records: of these passes (None: there was none); one that names no version that was compared has its commit's.
    """
    after = {r.asset: _compared_to(r) for r in records if r is not None}
    changes = outside_row_changes(ds, min(after.values())) if after else []
    return {
        asset: [commit.version for commit in changes if commit.version > version] for asset, version in after.items()
    }


def _compared_to(record: Record) -> int:
    compared_to = record.progress.compared_to
    return record.ref.version if compared_to is None else compared_to


def written_at(versions: Iterable[int]) -> str:
    """A filter: rows that one of these commits has written, and none since."""
    listed = ", ".join(map(str, versions))
    return f"_row_last_updated_at_version in ({listed})" if listed else "false"


def reusable_record(ds: lance.LanceDataset, record: Record | None, code_version: str) -> Record | None:
    """The last materialization of an asset, where a refresh may build on it.

    Args:
        ds: the asset's table at its newest version.
        record: the asset's last one.
        code_version: the asset's now; another one gives other rows.

    Returns:
        None where there is none, by another code, or where another run wrote the asset at the same time, or somebody
        outside the table since: what the table holds is then not known to be the result of one pass.
    """
    if record is None or record.code_version != code_version or record.progress.compared_to is None:
        return None
    commits = list(commits_in(ds, range(record.progress.compared_to + 1, ds.version + 1)))
    return None if _by_others(commits, record.asset, record.run_id) or row_changes(commits) else record
