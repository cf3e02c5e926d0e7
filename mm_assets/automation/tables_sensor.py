"""The sensor that looks for writes to the tables from outside Dagster."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import AssetKey

from mm_assets.lineage.pins import TABLES, table_of
from mm_assets.resources import Lake
from mm_assets.settings import AutomationSettings

if TYPE_CHECKING:
    from mm_assets.engines.lance_tables import LakeTables

# What these hold are results of the past: a run of theirs would not repair them, and might train.
REPORTED_ONLY = {"llava_checkpoint", "evaluation"}


@dataclass(frozen=True)
class Seen:
    """What was seen of a table: its identity, and its version then."""

    table_id: str
    version: int


@dataclass(frozen=True)
class Write:
    """A commit that was made outside: what Lance calls its operation, and when."""

    version: int
    operation: str
    at: datetime


@dataclass(frozen=True)
class Finding:
    """What happened to a table outside.

    Args:
        table: its name.
        commits: made outside.
        replaced: the table is another one than before.
    """

    table: str
    commits: list[Write]
    replaced: bool

    def __str__(self) -> str:
        done = ["another table than before"] if self.replaced else []
        done += [f"{commit.operation} (version {commit.version})" for commit in self.commits]
        return f"{self.table}.lance: {', '.join(done)}"


def build(settings: AutomationSettings, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """Build `tables_written_outside`."""

    @dg.sensor(target=dg.AssetSelection.all(), minimum_interval_seconds=settings.tables_seconds, default_status=status)
    def tables_written_outside(context: dg.SensorEvaluationContext, lake: Lake) -> dg.SensorResult:
        """Shows writes from outside on the pages of the assets that own the table, and has these looked at again."""
        tables = lake.tables()
        before = None if context.cursor is None else {k: Seen(**v) for k, v in json.loads(context.cursor).items()}
        now = {table: seen for table in dict.fromkeys(TABLES.values()) if (seen := _seen(tables, table))}
        cursor = json.dumps({table: vars(seen) for table, seen in now.items()})
        if before is None:
            return _skip(f"{len(now)} tables, watched from now on", cursor)
        found = [
            finding for table, seen in now.items() if (finding := _finding(tables, table, before.get(table), seen))
        ]
        if not found:
            gone = "".join(f"; {table}.lance is gone" for table in before if table not in now)
            return _skip(f"{len(now)} tables, none written from outside{gone}", cursor)
        keys = sorted(context.repository_def.asset_graph.materializable_asset_keys) if context.repository_def else []
        return dg.SensorResult(
            run_requests=_requests(keys, found, now),
            asset_events=[event for finding in found for event in _observations(keys, finding)],
            cursor=cursor,
        )

    return tables_written_outside


def _skip(why: str, cursor: str) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(why), cursor=cursor)


def _seen(tables: "LakeTables", table: str) -> Seen | None:
    from mm_assets.engines.lance_tables import table_id

    if not tables.exists(table):
        return None
    ds = tables.open(table)
    return Seen(table_id(ds), ds.version)


def _finding(tables: "LakeTables", table: str, before: Seen | None, now: Seen) -> Finding | None:
    """What happened between two looks; a table that was not there before may have been made by a run."""
    from mm_assets.engines.commit_origins import changes_outside

    replaced = before is not None and before.table_id != now.table_id
    after = before.version if before is not None and not replaced else 0
    ds = tables.open(table)
    found = [commit for commit in changes_outside(ds, after) if commit.version <= now.version]
    times = {item["version"]: item["timestamp"].astimezone(UTC) for item in ds.versions()} if found else {}
    commits = [Write(commit.version, commit.operation, times[commit.version]) for commit in found]
    return Finding(table, commits, replaced) if commits or replaced else None


def _owners(keys: list[AssetKey], table: str) -> list[AssetKey]:
    return [key for key in keys if table_of(key.to_user_string()) == table]


def _observations(keys: list[AssetKey], finding: Finding) -> list[dg.AssetObservation]:
    metadata: dict[str, Any] = {
        "table": finding.table,
        "written_outside": str(finding),
        "versions": ", ".join(str(commit.version) for commit in finding.commits),
        "operations": ", ".join(commit.operation for commit in finding.commits),
        "at": ", ".join(commit.at.isoformat(timespec="seconds") for commit in finding.commits),
        "another_table_than_before": finding.replaced,
    }
    return [
        dg.AssetObservation(key, description=str(finding), metadata=metadata) for key in _owners(keys, finding.table)
    ]


def _requests(keys: list[AssetKey], found: list[Finding], now: dict[str, Seen]) -> list[dg.RunRequest]:
    """One run of all assets that own a table that was written, and that can bring it back to what it should be."""
    wanted = [
        key for finding in found for key in _owners(keys, finding.table) if key.to_user_string() not in REPORTED_ONLY
    ]
    if not wanted:
        return []
    tags = {f"written_outside/{finding.table}": f"v{now[finding.table].version}" for finding in found}
    run_key = "-".join(f"{item.table}:{now[item.table].table_id[:6]}@v{now[item.table].version}" for item in found)
    return [dg.RunRequest(run_key=run_key, asset_selection=wanted, tags=tags)]
