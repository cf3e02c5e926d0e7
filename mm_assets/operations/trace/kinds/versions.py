"""Materializations: what each was made from, what was made from it, and versions that cannot be read any more."""

from collections.abc import Iterable
from dataclasses import replace

from mm_assets.engines.lake.tables import table_id
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import InputRef
from mm_assets.operations.trace.lake import TracedLake
from mm_assets.operations.trace.nodes import Node, Trace

# Metadata of a materialization that its node repeats.
FACTS = (
    *("rows", "rows_failed", "examples", "splits", "digest", "name", "task", "prompt_digest"),
    *("challenger", "champion", "measure", "accuracy", "champion_accuracy", "promoted", "decision", "production"),
)
VERSION = "version"


def find_version(lake: TracedLake, what: str) -> list[Trace]:
    """The materializations that have a data version: several assets may share one."""
    records = [record for (_, version), record in lake.history.first_of_version.items() if version == what]
    return [
        Trace(
            VERSION, what, _version_facts(lake, record), inputs_of(lake, record.inputs, set()), readers_of(lake, record)
        )
        for record in sorted(records, key=lambda record: record.asset)
    ]


def version_node(lake: TracedLake, asset: str, data_version: str, children: tuple[Node, ...] = ()) -> Node:
    """One version, without its inputs; `lost` where the history has no record of it."""
    record = lake.history.first_of_version.get((asset, data_version))
    facts = _version_facts(lake, record) if record else {"asset": asset, "lost": True}
    return Node(VERSION, data_version, facts, children)


def neighbouring_versions(lake: TracedLake, what: str) -> list[str]:
    """The materialized versions of a table right before and after a data version."""
    place, _, number = what.rpartition("@v")
    own = sorted({r.ref.version for r in lake.history.records.values() if str(r.ref).rpartition("@")[0] == place})
    before, after = [v for v in own if v < int(number)], [v for v in own if v > int(number)]
    return [f"{place}@v{version}" for version in (*before[-1:], *after[:1])]


def _version_facts(lake: TracedLake, record: Record) -> dict[str, object]:
    key = (record.asset, record.data_version)
    expiry = lake.expired.get(key)
    return {
        "asset": record.asset,
        "run_id": record.run_id,
        "at": record.at.isoformat(),
        "code_version": record.code_version,
        "reused": lake.reused[key],
        "let_go": expiry.at.isoformat() if expiry else None,
        **{name: record.metadata[name] for name in FACTS if name in record.metadata},
    }


def inputs_of(lake: TracedLake, inputs: Iterable[InputRef], visited: set[tuple[str, str]]) -> tuple[Node, ...]:
    """The inputs of something, and their inputs; each version is followed once."""
    return tuple(_input(lake, item, visited) for item in inputs)


def _input(lake: TracedLake, item: InputRef, visited: set[tuple[str, str]]) -> Node:
    key = (item.asset, item.data_version)
    if key in visited:
        return _again(*key)
    visited.add(key)
    record = lake.history.source(item)
    return version_node(lake, *key, inputs_of(lake, record.inputs, visited) if record else ())


def readers_of(lake: TracedLake, record: Record) -> tuple[Node, ...]:
    """What was made from a version, and what was made from that; each version is followed once.

    Only readers that this very version leads to are followed. For example, sft@v2 was reused on newer images:
        images@v4 -> sft@v2           -> checkpoint A
        images@v9 -> sft@v2 (reused)  -> checkpoint B
    Down from images@v9 there is sft@v2, `found_unchanged`, with checkpoint B alone.
    """
    key = (record.asset, record.data_version)
    return _readers(lake, key, _reached(lake, lake.history.versions[key]), set())


def _reached(lake: TracedLake, start: Iterable[Record]) -> set[str]:
    """Ids of some materializations, and of all that were made from them."""
    todo = [record.id for record in start]
    ids = set(todo)
    while todo:
        new = {reader.id for reader in lake.history.readers.get(todo.pop(), ())} - ids
        ids |= new
        todo += new
    return ids


def _readers(
    lake: TracedLake, key: tuple[str, str], reached: set[str], visited: set[tuple[str, str]]
) -> tuple[Node, ...]:
    readers_by_version: dict[tuple[str, str], list[Record]] = {}
    for read in (record for record in lake.history.versions[key] if record.id in reached):
        for reader in lake.history.readers.get(read.id, ()):
            readers_by_version.setdefault((reader.asset, reader.data_version), []).append(reader)
    oldest_first = sorted(readers_by_version.items(), key=lambda item: item[1][0].at)
    return tuple(_reader(lake, readers, reached, visited) for _, readers in oldest_first)


def _reader(lake: TracedLake, readers: list[Record], reached: set[str], visited: set[tuple[str, str]]) -> Node:
    key = (readers[0].asset, readers[0].data_version)
    if key in visited:
        return _again(*key)
    visited.add(key)
    node = version_node(lake, *key, _readers(lake, key, reached, visited))
    return replace(node, facts={**node.facts, "found_unchanged": all(reader.reused for reader in readers)})


def _again(asset: str, data_version: str) -> Node:
    return Node(VERSION, data_version, {"asset": asset, "see": "above"})


def unreadable_version(lake: TracedLake, asset: str, data_version: str, children: tuple[Node, ...] = ()) -> Node:
    """A version that cannot be read any more, and why."""
    expiry = lake.expired.get((asset, data_version))
    if expiry:
        why = {"why": "expired", "at": expiry.at.isoformat(), "reason": dict(expiry.reason)}
    else:
        head = lake.head(data_version.partition(":")[0])
        same = head is not None and data_version.partition(":")[2].startswith(table_id(head)[:6])
        why = {"why": "removed" if same else "its table was dropped or replaced"}
    return Node("let go", data_version, {"asset": asset, **why}, children)
