"""Materializations: what each was made from, what was made from it, and versions that are not there any more."""

from collections.abc import Iterable
from dataclasses import replace

from mm_assets.engines.lake.tables import table_id
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import InputRef
from mm_assets.operations.trace.lake import TracedLake
from mm_assets.operations.trace.nodes import Found, Node

# What a materialization says of itself and a trace repeats, where it says so.
FACTS = (
    *("rows", "rows_failed", "examples", "splits", "digest", "name", "task", "prompt_digest"),
    *("challenger", "champion", "measure", "accuracy", "champion_accuracy", "promoted", "decision", "production"),
)
VERSION = "version"


def find_version(lake: TracedLake, what: str) -> list[Found]:
    """The materializations that have a data version: several assets may share one."""
    found = [record for (_, version), record in lake.history.first_of_version.items() if version == what]
    return [
        Found(VERSION, what, _said(lake, record), inputs_of(lake, record.inputs, set()), readers_of(lake, record))
        for record in sorted(found, key=lambda record: record.asset)
    ]


def version_node(lake: TracedLake, asset: str, data_version: str, children: tuple[Node, ...] = ()) -> Node:
    """One version, without what it was made from; also one that the history has lost."""
    record = lake.history.first_of_version.get((asset, data_version))
    said = _said(lake, record) if record else {"asset": asset, "lost": True}
    return Node(VERSION, data_version, said, children)


def neighbours(lake: TracedLake, what: str) -> list[str]:
    """The materialized versions of a table right before and after one that is none."""
    place, _, number = what.rpartition("@v")
    own = sorted({r.ref.version for r in lake.history.records.values() if str(r.ref).rpartition("@")[0] == place})
    before, after = [v for v in own if v < int(number)], [v for v in own if v > int(number)]
    return [f"{place}@v{version}" for version in (*before[-1:], *after[:1])]


def _said(lake: TracedLake, record: Record) -> dict[str, object]:
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


def inputs_of(lake: TracedLake, inputs: Iterable[InputRef], told: set[tuple[str, str]]) -> tuple[Node, ...]:
    """What something was made from, and that from what; each version is told once."""
    return tuple(_input(lake, item, told) for item in inputs)


def _input(lake: TracedLake, item: InputRef, told: set[tuple[str, str]]) -> Node:
    key = (item.asset, item.data_version)
    if key in told:
        return _again(*key)
    told.add(key)
    record = lake.history.source(item)
    return version_node(lake, *key, inputs_of(lake, record.inputs, told) if record else ())


def readers_of(lake: TracedLake, record: Record) -> tuple[Node, ...]:
    """What was made from a version, and what from that; each version is told once.

    A dataset that was found unchanged on newer images was read by a checkpoint then, and perhaps by another one before:
    each version leads to what read it at its time.
    """
    key = (record.asset, record.data_version)
    return _readers(lake, key, _reached(lake, lake.history.versions[key]), set())


def _reached(lake: TracedLake, start: Iterable[Record]) -> set[str]:
    """Ids of materializations and of all that were made from them."""
    todo = [record.id for record in start]
    found = set(todo)
    while todo:
        new = {reader.id for reader in lake.history.readers.get(todo.pop(), ())} - found
        found |= new
        todo += new
    return found


def _readers(lake: TracedLake, key: tuple[str, str], reached: set[str], told: set[tuple[str, str]]) -> tuple[Node, ...]:
    made: dict[tuple[str, str], list[Record]] = {}
    for read in (record for record in lake.history.versions[key] if record.id in reached):
        for reader in lake.history.readers.get(read.id, ()):
            made.setdefault((reader.asset, reader.data_version), []).append(reader)
    oldest_first = sorted(made.items(), key=lambda item: item[1][0].at)
    return tuple(_reader(lake, readers, reached, told) for _, readers in oldest_first)


def _reader(lake: TracedLake, readers: list[Record], reached: set[str], told: set[tuple[str, str]]) -> Node:
    key = (readers[0].asset, readers[0].data_version)
    if key in told:
        return _again(*key)
    told.add(key)
    node = version_node(lake, *key, _readers(lake, key, reached, told))
    return replace(node, said={**node.said, "found_unchanged": all(reader.reused for reader in readers)})


def _again(asset: str, data_version: str) -> Node:
    return Node(VERSION, data_version, {"asset": asset, "see": "above"})


def let_go(lake: TracedLake, asset: str, data_version: str, children: tuple[Node, ...] = ()) -> Node:
    """A version that can be read no more, and why."""
    expiry = lake.expired.get((asset, data_version))
    if expiry:
        why = {"why": "let go by maintenance", "at": expiry.at.isoformat(), "reason": dict(expiry.reason)}
    else:
        head = lake.head(data_version.partition(":")[0])
        same = head is not None and data_version.partition(":")[2].startswith(table_id(head)[:6])
        why = {"why": "removed" if same else "its table is not the same any more"}
    return Node("let go", data_version, {"asset": asset, **why}, children)
