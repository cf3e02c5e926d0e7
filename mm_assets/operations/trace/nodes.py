"""What a trace says, as plain values: things, what the lake says of each, and what hangs on them."""

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
        said: facts, as JSON values.
        children: what leads on from it.
    """

    kind: str
    id: str
    said: Mapping[str, Any] = field(default_factory=dict)
    children: tuple["Node", ...] = ()


@dataclass(frozen=True)
class Found:
    """A thing that was asked for: the way up to where it comes from, and down to what used it."""

    kind: str
    id: str
    said: Mapping[str, Any]
    up: tuple[Node, ...] = ()
    down: tuple[Node, ...] = ()


def as_values(what: str, found: Sequence[Found]) -> dict[str, Any]:
    """A trace as JSON values.

    Returns:
        `{"what": ..., "found": [{"kind", "id", "said", "up": [...], "down": [...]}]}`; the nodes in `up` and `down` are
        `{"kind", "id", "said", "children": [...]}`, nested. Times are ISO 8601; a number that JSON has not is a string.
    """
    return {"what": what, "found": [_found(item) for item in found]}


def _found(item: Found) -> dict[str, Any]:
    ways = {"up": [_node(node) for node in item.up], "down": [_node(node) for node in item.down]}
    return {"kind": item.kind, "id": item.id, "said": _plain(item.said), **ways}


def _node(node: Node) -> dict[str, Any]:
    children = [_node(child) for child in node.children]
    return {"kind": node.kind, "id": node.id, "said": _plain(node.said), "children": children}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
