"""Scores of an image, each read at the version of its scorer's newest materialization."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mm_assets.catalog import NEAR_DUPLICATES, find_asset
from mm_assets.engines.lake.rows import is_in
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef
from mm_assets.operations.trace.kinds.images import Past
from mm_assets.operations.trace.kinds.versions import unreadable_version
from mm_assets.operations.trace.lake import Row, TracedLake, rows_where
from mm_assets.operations.trace.nodes import Node
from mm_assets.stages.score.tables import GROUP_COLUMNS


def scores_of(lake: TracedLake, pasts: Mapping[str, Past]) -> dict[str, list[Node]]:
    """Score cells and near-duplicate groups of images that the newest image table has, by image id."""
    nodes: dict[str, list[Node]] = {image_id: [] for image_id in pasts}
    current = [image_id for image_id, past in pasts.items() if past.is_current]
    newest = [record for asset, record in sorted(lake.history.newest.items()) if current and _adds_columns(asset)]
    rows = {ref: _rows(lake, ref, current, newest) for ref in {record.ref for record in newest}}
    for record in newest:
        others = _members(lake, record, rows[record.ref].values()) if record.asset == NEAR_DUPLICATES.key else {}
        for image_id in current:
            if lake.at(record.ref) is None:
                nodes[image_id].append(unreadable_version(lake, record.asset, record.data_version))
            else:
                nodes[image_id].append(_node(record, pasts[image_id], rows[record.ref].get(image_id), others))
    return nodes


def _adds_columns(asset: str) -> bool:
    row = find_asset(asset)
    return row is not None and row.adds_columns


def _columns(record: Record, names: Sequence[str]) -> list[str]:
    """The value columns of a scorer."""
    groups = [column.name for column in GROUP_COLUMNS] if record.asset == NEAR_DUPLICATES.key else []
    columns: list[str] = record.metadata.get("columns", groups)
    return [name for name in columns if name in names and name not in _state(record)]


def _state(record: Record) -> list[str]:
    scorer = record.asset.split("/")[-1]
    return [f"{scorer}_rev", f"{scorer}_error"]


def _rows(lake: TracedLake, ref: LanceRef, image_ids: Sequence[str], newest: Sequence[Record]) -> dict[str, Row]:
    """The cells of all scorers that are at one version."""
    ds = lake.at(ref)
    if ds is None:
        return {}
    names = ds.schema.names
    score_columns = [
        name for r in newest if r.ref == ref for name in (*_columns(r, names), *_state(r)) if name in names
    ]
    columns = list(dict.fromkeys(["image_id", "sha256", *score_columns]))
    return {row["image_id"]: row for row in rows_where(ds, is_in("image_id", image_ids), columns)}


def _node(record: Record, past: Past, row: Row | None, others: Mapping[str, Sequence[str]]) -> Node:
    facts: dict[str, Any] = {"data_version": record.data_version}
    if row is None:
        return Node("score", record.asset, {**facts, "revision": None, "values": {}, "error": None, "same_bytes": None})
    rev, error = _state(record)
    facts |= {"revision": row.get(rev), "error": row.get(error), "same_bytes": row["sha256"] == past.sha256}
    if record.asset == NEAR_DUPLICATES.key:
        group = row.get("group_id")
        members = [name for name in others.get(group or "", ()) if name != past.image_id]
        facts |= {"first_group_id": row.get("first_group_id"), "others": members}
        return Node("near-duplicate group", group or "", {**facts, "none": group is None})
    return Node("score", record.asset, {**facts, "values": {name: row[name] for name in _columns(record, list(row))}})


def _members(lake: TracedLake, record: Record, rows: Iterable[Row]) -> dict[str, list[str]]:
    """Ids of the images in the groups of some rows."""
    groups = {row["group_id"] for row in rows if row.get("group_id") is not None}
    members_by_group: dict[str, list[str]] = {}
    if groups:
        for row in rows_where(lake.at(record.ref), is_in("group_id", sorted(groups)), ["image_id", "group_id"]):
            members_by_group.setdefault(row["group_id"], []).append(row["image_id"])
    return {group: sorted(members) for group, members in members_by_group.items()}
