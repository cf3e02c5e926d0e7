"""Whether what an asset wrote last is still what its table holds."""

import lance

from mm_assets.engines.lance_commits import carries, commits_after
from mm_assets.lineage.refs import RUN, Record


def others_wrote(ds: lance.LanceDataset, asset: str, after: int, run_id: str) -> bool:
    """Whether another run committed rows or cells of an asset above version `after`."""
    found = (properties for _, properties in commits_after(ds, after) if carries(properties, asset))
    return any(properties.get(RUN) != run_id for properties in found)


def same_pass(ds: lance.LanceDataset, record: Record | None, code_version: str, looked_at: str) -> Record | None:
    """The last materialization of an asset, where a refresh may build on it.

    Args:
        ds: the asset's table at its newest version.
        record: the asset's last one.
        code_version: the asset's now; another one gives other rows.
        looked_at: the watermark that names the version at which that pass compared the table with its result.

    Returns:
        None where there is none, by another code, or where another run wrote the asset at the same time: what the
        table holds is then not known to be the result of one pass.
    """
    if record is None or record.code_version != code_version or looked_at not in record.watermarks:
        return None
    return None if others_wrote(ds, record.asset, record.watermarks[looked_at], record.run_id) else record
