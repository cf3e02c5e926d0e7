"""Whether a refresh can build on the rows that an asset wrote last, or another writer has changed them."""

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
    """Versions that outside writers committed since each asset last compared the table; the commits are read once.

    An asset with such versions has to compare its whole table.

    Args:
        ds: the table of the assets, at its newest version.
        records: the last one of each asset, or None. A record without `compared_to` counts from its own commit.
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
    """A filter for rows that one of these commits was the last to write."""
    listed = ", ".join(map(str, versions))
    return f"_row_last_updated_at_version in ({listed})" if listed else "false"


def reusable_record(ds: lance.LanceDataset, record: Record | None, code_version: str) -> Record | None:
    """The last materialization of an asset, where a refresh may build on it.

    Args:
        ds: the asset's table at its newest version.
        record: the asset's last one, or None.
        code_version: the asset's present one; another code version gives other rows.

    Returns:
        The record, or None: it is missing, or has another code version. Also None where another run or an outside
        writer wrote the asset since `compared_to`: the table's rows may then come from several passes.
    """
    if record is None or record.code_version != code_version or record.progress.compared_to is None:
        return None
    commits = list(commits_in(ds, range(record.progress.compared_to + 1, ds.version + 1)))
    return None if _by_others(commits, record.asset, record.run_id) or row_changes(commits) else record
