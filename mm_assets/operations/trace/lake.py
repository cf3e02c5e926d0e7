"""What a trace reads of a lake: the history, the registry and each table version once, and never an image's bytes."""

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mm_assets.engines.lake.commits import properties_of, transactions
from mm_assets.engines.lake.tables import Lake, table_id
from mm_assets.engines.models.registry import TABLE as MODELS
from mm_assets.history.history import History
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.properties import ASSETS, BATCH, RUN, inputs_of
from mm_assets.lineage.records import Expiry, Record
from mm_assets.lineage.refs import LanceRef, version_of
from mm_assets.operations.trace.registry import models_of
from mm_assets.stages.evaluate.tables import EVALUATIONS, current_production

if TYPE_CHECKING:
    import lance

Row = dict[str, Any]


class TracedLake:
    """A lake, read for one trace.

    Images, scores and datasets are read at materialized versions. Models, evaluations and predictions are read at the
    newest version of their table: a run that was cut off may have left rows that were used.
    """

    def __init__(self, tables: Lake) -> None:
        self.tables = tables
        self._versions: dict[LanceRef, lance.LanceDataset | None] = {}
        self._heads: dict[str, lance.LanceDataset | None] = {}
        self._properties: dict[tuple[str, int], dict[str, str]] = {}

    @cached_property
    def history(self) -> History:
        """The lake's history."""
        return History.read(self.tables)

    @cached_property
    def expired(self) -> dict[tuple[str, str], Expiry]:
        """The expired versions, by asset and data version."""
        return {(item.asset, str(item.ref)): item for item in self.history.expiries}

    @cached_property
    def reused(self) -> Counter[tuple[str, str]]:
        """How often an asset was materialized without a change, by asset and data version."""
        return self.history.times_reused()

    def materialized(self, asset: str) -> list[Record]:
        """The materializations of an asset in its table as it is now, newest first; of each version the newest."""
        return self._by_asset.get(asset, [])

    def readable(self, asset: str) -> list[Record]:
        """The materializations of an asset whose version can still be read, newest first."""
        return [record for record in self.materialized(asset) if self.at(record.ref) is not None]

    @cached_property
    def _by_asset(self) -> dict[str, list[Record]]:
        by_ref = {(record.asset, record.ref): record for record in self.history.records.values()}
        by_asset: dict[str, list[Record]] = {}
        for (asset, ref), record in sorted(by_ref.items(), key=lambda item: -item[0][1].version):
            last = self.history.newest.get(asset)
            if last is not None and ref.table_id == last.ref.table_id:
                by_asset.setdefault(asset, []).append(record)
        return by_asset

    @cached_property
    def models(self) -> dict[str, Row]:
        """Rows of the registry by digest, oldest first; of each, `wrong` names what cannot be read."""
        return models_of(self.head(MODELS))

    @cached_property
    def production(self) -> str | None:
        """Digest of the model in production."""
        ds = self.head(EVALUATIONS)
        return current_production(ds) if ds is not None else None

    def head(self, table: str) -> "lance.LanceDataset | None":
        """A table at its newest version; None where the lake has none."""
        if table not in self._heads:
            self._heads[table] = self.tables.open(table) if self.tables.exists(table) else None
        return self._heads[table]

    def at(self, ref: LanceRef | None) -> "lance.LanceDataset | None":
        """A version of a table; None where it can be read no more (`versions.unreadable_version` says why)."""
        if ref is None:
            return None
        if ref not in self._versions:
            try:
                self._versions[ref] = self.tables.open_at(ref)
            except RefusalError:
                self._versions[ref] = None
        return self._versions[ref]

    def ref(self, asset: str, data_version: str) -> LanceRef | None:
        """The table version that a data version names; None where the table was dropped or replaced."""
        record = self.history.first_of_version.get((asset, data_version))
        if record is not None:
            return record.ref
        table, _, rest = data_version.partition(":")
        head = self.head(table)
        whole = table_id(head) if head is not None else ""
        is_same_table = head is not None and whole.startswith(rest.partition("@")[0])
        return LanceRef(table, whole, version_of(data_version)) if is_same_table else None

    def commit(self, table: str, version: int, asset: str | None = None) -> Row:
        """The commit that made a version, or what stands in for it.

        Returns:
            `data_version`, `run_id`, `assets`, `batch` and `inputs` (data version by asset). `exact` is false where the
            commit is gone, or carries no run: the first materialization of `asset` at or after it stands in (of any
            asset in that table, where none is named). Without one `run_id` is null.

        For example, a row was written at version 3, and version 3 expired:
            images@v3  commit of run A         gone
            images@v5  materialized by run A   its record stands in: run_id A, `materialized` v5, exact false
            images@v9  materialized by run B   is later, not used
        """
        head = self.head(table)
        assert head is not None  # a row of it was read
        place = {"data_version": str(LanceRef(table, table_id(head), version)), "exact": True}
        properties = self._properties_of(table, version)
        if properties.get(RUN):
            batch = {"assets": properties.get(ASSETS, "").split(","), "batch": properties.get(BATCH)}
            return {**place, "run_id": properties[RUN], **batch, "inputs": inputs_of(properties)}
        own = self.materialized(asset) if asset else self._in_table(table)
        record = min((r for r in own if r.ref.version >= version), key=lambda r: r.ref.version, default=None)
        if record is None:
            return {**place, "exact": False, "run_id": None, "assets": [], "batch": None, "inputs": {}}
        record = self.history.first_of_version[record.asset, record.data_version]  # later ones wrote nothing
        first = {"run_id": record.run_id, "assets": [record.asset], "batch": None, "inputs": record.read}
        return {**place, "exact": False, **first, "materialized": record.data_version}

    def _in_table(self, table: str) -> list[Record]:
        return [record for records in self._by_asset.values() for record in records if record.ref.table == table]

    def _properties_of(self, table: str, version: int) -> dict[str, str]:
        key = (table, version)
        if key not in self._properties:
            by_version = dict(transactions(self.head(table), [version]))
            self._properties[key] = properties_of(by_version[version]) if by_version else {}
        return self._properties[key]


def rows_where(ds: "lance.LanceDataset | None", condition: str, columns: Iterable[str]) -> list[Row]:
    """Some columns of the rows that match a filter; [] for a table that is not there."""
    return ds.scanner(columns=list(columns), filter=condition).to_table().to_pylist() if ds is not None else []
