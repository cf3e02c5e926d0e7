"""The ancestors of a materialization, at any depth, and the diamond rule that its inputs must meet."""

from collections.abc import Callable, Iterator, Mapping

from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import InputRef


def walk(record: Record, ancestors: Mapping[str, Record]) -> Iterator[Record]:
    """A record and all its ancestors, each once.

    Raises:
        RefusalError: an ancestor is missing.
    """
    return _walk(record, lambda item: _ancestor(item, ancestors))


def walk_known(record: Record, history: Mapping[str, Record]) -> Iterator[Record]:
    """A record and those ancestors that the history still has, each once."""
    return _walk(record, lambda item: history.get(item.record_id))


def _walk(record: Record, find: Callable[[InputRef], Record | None]) -> Iterator[Record]:
    visited: set[str] = set()
    waiting = [record]
    while waiting:
        current = waiting.pop()
        if current.id not in visited:
            visited.add(current.id)
            yield current
            waiting += filter(None, map(find, current.inputs))


def _ancestor(item: InputRef, ancestors: Mapping[str, Record]) -> Record:
    if item.record_id not in ancestors:
        raise RefusalError(
            f"the lake's history (lineage.lance) has lost {item.asset} {item.data_version}: materialize {item.asset} "
            "and what follows it again"
        )
    return ancestors[item.record_id]


def diamond_conflict(inputs: Mapping[str, Record], history: Mapping[str, Record]) -> str | None:
    """Hold inputs to the diamond rule: where two of them lead back to one asset, they must name the same version of it.

    A worked example. The scores read `images` at version 7, and `images` is at version 9. A step that reads both is
    refused: "scores were computed on images@v7, images is at @v9: materialize scores first". The scores are
    materialized, find no changed row, and reuse their old version with `images` at version 9 as input. Now the rule
    holds. An asset that read that old version of the scores is not materialized again: the newest record of a version
    counts.

    Args:
        inputs: the pinned materialization of each input.
        history: materializations by id, oldest first, with all ancestors of the inputs.

    Returns:
        A sentence that names the version in conflict and the assets to materialize; None where the rule holds.
    """
    latest = {(record.asset, record.data_version): record for record in history.values()}

    def stands_for(item: InputRef) -> Record:
        return latest.get((item.asset, item.data_version)) or _ancestor(item, history)

    trail_of = {name: {r.asset: r for r in _walk(record, stands_for)} for name, record in inputs.items()}
    shared = sorted({asset for trail in trail_of.values() for asset in trail})
    for asset in shared:
        trails = {name: trail for name, trail in trail_of.items() if asset in trail}
        newest = inputs.get(asset) or max((trail[asset] for trail in trails.values()), key=lambda record: record.at)
        behind = {name for name, trail in trails.items() if trail[asset].data_version != newest.data_version}
        if behind:
            return _diamond_sentence(asset, newest, {name: trails[name] for name in behind})
    return None


def _diamond_sentence(asset: str, newest: Record, behind: Mapping[str, Mapping[str, Record]]) -> str:
    names = sorted(behind)
    on = sorted({trail[asset].data_version for trail in behind.values()})
    stale = {name for trail in behind.values() for name, record in trail.items() if _leads_to(record, asset, trail)}
    depths = {name: _depth(trail, name) for trail in behind.values() for name in stale & set(trail)}
    order = sorted(stale, key=lambda name: (depths[name], name))
    verb = "was" if len(names) == 1 else "were"
    return (
        f"{', '.join(names)} {verb} computed on {', '.join(on)}, {asset} is at "
        f"@v{newest.ref.version}: materialize {', '.join(order)} first"
    )


def _leads_to(record: Record, asset: str, trail: Mapping[str, Record]) -> bool:
    return record.asset != asset and any(
        item.asset == asset or (item.asset in trail and _leads_to(trail[item.asset], asset, trail))
        for item in record.inputs
    )


def _depth(trail: Mapping[str, Record], name: str) -> int:
    return 1 + max((_depth(trail, item.asset) for item in trail[name].inputs if item.asset in trail), default=0)
