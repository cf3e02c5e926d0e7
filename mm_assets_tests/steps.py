"""Steps for testing jobs without Dagster: what a step pins is given, what it wrote is recorded."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from mm_assets.engines.lance_tables import LakeTables
from mm_assets.engines.lineage_table import last_records, own_commit, records
from mm_assets.lineage.pins import table_of
from mm_assets.lineage.refs import Final, Record, Step


def run_step(
    tables: LakeTables,
    job: Callable[[Step], Final | dict[str, Final]],
    *assets: str,
    inputs: tuple[str, ...] = (),
    code: str = "1",
) -> dict[str, Record]:
    """Run a job as the step of `assets`, with the newest version of each input pinned, and publish its records."""
    own = {asset: own_commit(tables, asset, table_of(asset)) for asset in assets}
    history = records(tables)
    newest = last_records(tables, list(history.values()))
    pins = {name: newest[name] for name in inputs}
    step = Step(uuid.uuid4().hex, assets[0], dict.fromkeys(assets, code), pins, history, own, print)
    job(step)
    found = {asset: own_commit(tables, asset, table_of(asset)) for asset in assets}
    unchanged = {asset: commit.record for asset, commit in found.items()}
    missing = [asset for asset, record in unchanged.items() if record is None]
    assert not missing, f"no final commit of {missing} at {datetime.now(UTC)}"
    return {asset: record for asset, record in unchanged.items() if record is not None}
