"""Healing: the next step writes the records that a crash kept from the history."""

import json

from mm_assets.catalog import table_of
from mm_assets.engines.lake.commits import commit_writes_asset, commits_after, tag
from mm_assets.history.history import History
from mm_assets.lineage.properties import RECORDS
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef, tag_name
from mm_assets.lineage.step import AssetState


def heal(history: History, asset: str) -> AssetState:
    """Find an asset's last commit and record, and write the records that a crash kept from the history.

    A worked example. A run commits version 8 of `images`, which carries the record of the asset `hashes`. The run dies
    before it writes the row. The newest row of `hashes` names version 6. The next step reads the commits after
    version 6 and finds the record in version 8. It tags that version and writes the row. A third process that heals at
    the same time finds the row and writes nothing.
    """
    lake, table = history.lake, table_of(asset)
    if not lake.exists(table):
        return AssetState(None, None)
    record = history.newest.get(asset)
    ds = lake.open(table)
    last_commit = record.ref if record else None
    for version, properties in commits_after(ds, record.commits_scanned_to if record else 0):
        if commit_writes_asset(properties, asset):
            last_commit = lake.ref(table, version)
            drafts = _records_in(properties[RECORDS], asset, last_commit)
            unwritten = history.unwritten(drafts)
            for record in drafts:
                if record.id in unwritten:
                    tag(ds, tag_name(asset, version), version)
                    history.append(record)
                else:
                    history.add(record)
    return AssetState(record, last_commit, ds.version)


def _records_in(drafts: str, asset: str, ref: LanceRef) -> list[Record]:
    return [Record.from_commit(draft, ref) for draft in json.loads(drafts) if draft["asset"] == asset]
