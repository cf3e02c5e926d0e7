"""Whether what an asset wrote last is still what its table holds."""

from collections.abc import Iterable

import lance

from mm_assets.engines.commit_origins import changes_outside
from mm_assets.engines.lance_commits import carries, commits_after
from mm_assets.engines.lance_tables import LakeTables
from mm_assets.lineage.refs import RUN, Record

# Watermark: the version of its own table that a pass has compared with what it should hold.
COMPARED = "compared"


def others_wrote(ds: lance.LanceDataset, asset: str, after: int, run_id: str) -> bool:
    """Whether another run committed rows or cells of an asset above version `after`."""
    found = (properties for _, properties in commits_after(ds, after) if carries(properties, asset))
    return any(properties.get(RUN) != run_id for properties in found)


def outside_since(tables: LakeTables, record: Record | None, looked_at: str = COMPARED) -> list[int]:
    """Versions that were committed outside since an asset's last pass over its table: it is to be compared as a whole.

    Args:
        tables: the lake.
        record: of that pass; where it names no version that was compared, its own commit counts.
        looked_at: the watermark that names it.
    """
    if record is None:
        return []
    after = record.watermarks.get(looked_at, record.ref.version)
    return [commit.version for commit in changes_outside(tables, record.ref.table, after)]


def written_at(versions: Iterable[int]) -> str:
    """A filter: rows that one of these commits has written, and none since."""
    listed = ", ".join(map(str, versions))
    return f"_row_last_updated_at_version in ({listed})" if listed else "false"


def same_pass(
    tables: LakeTables, ds: lance.LanceDataset, record: Record | None, code_version: str, looked_at: str
) -> Record | None:
    """The last materialization of an asset, where a refresh may build on it.

    Args:
        tables: the lake.
        ds: the asset's table at its newest version.
        record: the asset's last one.
        code_version: the asset's now; another one gives other rows.
        looked_at: the watermark that names the version at which that pass compared the table with its result.

    Returns:
        None where there is none, by another code, or where another run wrote the asset at the same time, or somebody
        outside the table since: what the table holds is then not known to be the result of one pass.
    """
    if record is None or record.code_version != code_version or looked_at not in record.watermarks:
        return None
    if others_wrote(ds, record.asset, record.watermarks[looked_at], record.run_id):
        return None
    return None if outside_since(tables, record, looked_at) else record
