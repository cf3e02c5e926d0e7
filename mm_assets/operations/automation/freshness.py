"""Whether assets are outdated, by Dagster's newest events."""

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

    An asset is judged by its inputs and code, not by events since. So nothing is missed that happened while the daemon
    was stopped, or that happened to an input while the asset was being made from its earlier version.
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
        """Whether an asset is missing, or its inputs or its code have changed since it was made."""
        tags = self._tags.get(key)
        return tags is None or any(tags.get(name) != value for name, value in self._tags_if_made_now(key).items())

    def state(self, key: AssetKey) -> str:
        """The inputs and code that an asset would be made from now, and whether it is missing, as one text."""
        return json.dumps({**self._tags_if_made_now(key), "missing": self.missing(key)}, sort_keys=True)

    def _tags_if_made_now(self, key: AssetKey) -> dict[str, str | None]:
        node = self._graph.get(key)
        versions = {parent: self._tags.get(parent, {}).get(DATA_VERSION) for parent in node.parent_keys}
        inputs = {f"{INPUT_VERSION}{parent.to_user_string()}": version for parent, version in versions.items()}
        return {CODE_VERSION: node.code_version, **inputs}

    def outdated_before(self, key: AssetKey) -> list[str]:
        """Names of the outdated ancestors of an asset; the search stops at the training."""
        ancestors: set[AssetKey] = set()
        todo = list(self._graph.get(key).parent_keys)
        while todo:
            current = todo.pop()
            if current not in ancestors and current != TRAINED:
                ancestors.add(current)
                todo += self._graph.get(current).parent_keys
        return sorted(ancestor.to_user_string() for ancestor in ancestors if self.outdated(ancestor))
