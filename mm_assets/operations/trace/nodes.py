"""A trace as plain values: nodes with their facts and children."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Node:
    """A thing in a trace.

    Args:
        kind: in words, see docs/trace.md.
        id: what names it in the lake.
        facts: as JSON values; the key in the JSON is `said`.
        children: what leads on from it.
    """

    kind: str
    id: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    children: tuple["Node", ...] = ()


@dataclass(frozen=True)
class Trace:
    """One thing that has the name: what it comes from (`up`), and what used it (`down`)."""

    kind: str
    id: str
    facts: Mapping[str, Any]
    up: tuple[Node, ...] = ()
    down: tuple[Node, ...] = ()


def as_values(what: str, traces: Sequence[Trace]) -> dict[str, Any]:
    """A trace as JSON values.

    Returns:
        `{"what": ..., "found": [{"kind", "id", "said", "up": [...], "down": [...]}]}`; the nodes in `up` and `down` are
        `{"kind", "id", "said", "children": [...]}`, nested. Times are ISO 8601; a number that JSON has not is a string.
    """
    return {"what": what, "found": [_trace_values(item) for item in traces]}


def _trace_values(item: Trace) -> dict[str, Any]:
    ways = {"up": [_node_values(node) for node in item.up], "down": [_node_values(node) for node in item.down]}
    return {"kind": item.kind, "id": item.id, "said": _plain(item.facts), **ways}


def _node_values(node: Node) -> dict[str, Any]:
    children = [_node_values(child) for child in node.children]
    return {"kind": node.kind, "id": node.id, "said": _plain(node.facts), "children": children}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    as_it_is = value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))
    return value if as_it_is else str(value)  # a scorer may give what JSON has no form for, such as bytes
