"""Whether assets are what their inputs and their code would give now, as Dagster's newest events tell."""

import json
from collections.abc import Mapping

import dagster as dg
from dagster import AssetKey

from mm_assets.catalog import LLAVA_CHECKPOINT
from mm_assets.steps.dagster_private import BaseAssetGraph
from mm_assets.steps.events import CODE_VERSION, DATA_VERSION, INPUT_VERSION

# A checkpoint may well be older than its inputs: the sensor `training` decides on it, and what comes after it works
# with the checkpoint that there is.
TRAINED = AssetKey(LLAVA_CHECKPOINT.key)


class Freshness:
    """The newest materializations of a graph's assets, as they are when it is built.

    An asset is judged by what it was made from, not by what happened since: so nothing is missed that happened while
    the daemon was stopped, or to an input while the asset was being made from the version before.
    """

    def __init__(self, instance: dg.DagsterInstance, graph: BaseAssetGraph) -> None:
        self._graph = graph
        records = instance.get_asset_records(sorted(graph.materializable_asset_keys))
        newest = {record.asset_entry.asset_key: record.asset_entry.last_materialization for record in records}
        self._tags: dict[AssetKey, Mapping[str, str]] = {
            key: entry.asset_materialization.tags or {}
            for key, entry in newest.items()
            if entry is not None and entry.asset_materialization is not None
        }

    def missing(self, key: AssetKey) -> bool:
        """Whether there is no materialization."""
        return key not in self._tags

    def outdated(self, key: AssetKey) -> bool:
        """Whether an asset is missing, or made from other versions of its inputs or by other code than those of now."""
        made = self._tags.get(key)
        return made is None or any(made.get(name) != value for name, value in self._wanted(key).items())

    def state(self, key: AssetKey) -> str:
        """What an asset would be made from now, and whether it is missing: as long as it stays, so does the outcome."""
        return json.dumps({**self._wanted(key), "missing": self.missing(key)}, sort_keys=True)

    def _wanted(self, key: AssetKey) -> dict[str, str | None]:
        node = self._graph.get(key)
        versions = {parent: self._tags.get(parent, {}).get(DATA_VERSION) for parent in node.parent_keys}
        found = {f"{INPUT_VERSION}{parent.to_user_string()}": version for parent, version in versions.items()}
        return {CODE_VERSION: node.code_version, **found}

    def outdated_before(self, key: AssetKey) -> list[str]:
        """Names of what an asset is made from, at any depth, that is itself outdated; no further than the training."""
        seen: set[AssetKey] = set()
        waiting = list(self._graph.get(key).parent_keys)
        while waiting:
            current = waiting.pop()
            if current not in seen and current != TRAINED:
                seen.add(current)
                waiting += self._graph.get(current).parent_keys
        return sorted(found.to_user_string() for found in seen if self.outdated(found))
