"""The lake's history as one object: it is read once, and rows that this process writes are added."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from mm_assets.engines.lake.tables import Lake, table_id
from mm_assets.history.maintenance import expiries_in, maintenance_in
from mm_assets.history.materializations import materializations, row_of
from mm_assets.history.rows import append_rows, missing_ids, read_rows
from mm_assets.lineage import promotions
from mm_assets.lineage.ancestry import walk
from mm_assets.lineage.records import Expiry, Maintenance, Record
from mm_assets.lineage.refs import InputRef, LanceRef

# An asset and a data version of it.
Key = tuple[str, str]


class History:
    """The rows of `lineage.lance` by kind, oldest first, and look-ups among them.

    Args:
        lake: the lake.
        records: materializations by id.
        expiries: of versions that maintenance no longer keeps.
        maintenance: work on tables that changed no row. Work that ended stands here once, with its end.
    """

    def __init__(
        self,
        lake: Lake,
        records: Mapping[str, Record] | None = None,
        expiries: Iterable[Expiry] = (),
        maintenance: Iterable[Maintenance] = (),
    ) -> None:
        self.lake = lake
        self.records: dict[str, Record] = dict(records or {})
        self.expiries, self.maintenance = list(expiries), list(maintenance)

    @classmethod
    def read(cls, lake: Lake) -> "History":
        """Read the whole history at once; a new lake has an empty one."""
        rows = read_rows(lake)
        return cls(lake, materializations(rows), expiries_in(rows), maintenance_in(rows))

    def append(self, record: Record) -> None:
        """Write a materialization, unless a process has written it already, and add it here."""
        append_rows(self.lake, [row_of(record)])
        self.add(record)

    def add(self, record: Record) -> None:
        """Add a materialization here that the table has already."""
        self.records[record.id] = record
        self._table_ids[record.ref.table] = record.ref.table_id
        for name in ("newest", "versions", "first_of_version", "readers"):
            self.__dict__.pop(name, None)

    def unwritten(self, records: Iterable[Record]) -> set[str]:
        """Ids of the records that no process has written yet, found by key without a read of the history."""
        return missing_ids(self.lake, [record.id for record in records])

    @cached_property
    def _table_ids(self) -> dict[str, str]:
        names = {record.ref.table for record in self.records.values()}
        return {name: table_id(self.lake.open(name)) for name in names if self.lake.exists(name)}

    def is_of_present_table(self, record: Record) -> bool:
        """Whether the record names the table of today, and not one that was dropped since."""
        return self._table_ids.get(record.ref.table) == record.ref.table_id

    @cached_property
    def newest(self) -> dict[str, Record]:
        """The newest materialization of each asset in the table of today."""
        return {record.asset: record for record in self.records.values() if self.is_of_present_table(record)}

    def of_run(self, asset: str, run_id: str) -> list[Record]:
        """The materializations of an asset by one run, oldest first."""
        return [r for r in self.records.values() if (r.asset, r.run_id) == (asset, run_id)]

    @cached_property
    def versions(self) -> dict[Key, list[Record]]:
        """Materializations by asset and data version, oldest first: the first one wrote it, the others reused it."""
        versions: dict[Key, list[Record]] = {}
        for record in self.records.values():
            versions.setdefault((record.asset, record.data_version), []).append(record)
        return versions

    @cached_property
    def first_of_version(self) -> dict[Key, Record]:
        """The materialization that wrote each data version of an asset."""
        return {key: records[0] for key, records in self.versions.items()}

    def times_reused(self) -> Counter[Key]:
        """How often each data version of an asset was reused."""
        return Counter((record.asset, record.data_version) for record in self.records.values() if record.reused)

    def source(self, item: InputRef) -> Record | None:
        """The materialization that an input names. Where the history has lost it: the first of its data version."""
        return self.records.get(item.record_id) or self.first_of_version.get((item.asset, item.data_version))

    def ancestors(self, record: Record) -> Iterator[Record]:
        """A record and all its ancestors, each once.

        Raises:
            RefusalError: the history has lost one of them.
        """
        return walk(record, self.records)

    @cached_property
    def readers(self) -> dict[str, list[Record]]:
        """The materializations that read one, by its id, oldest first."""
        readers: dict[str, list[Record]] = {}
        for record in self.records.values():
            for source in filter(None, map(self.source, record.inputs)):
                readers.setdefault(source.id, []).append(record)
        return readers

    def last_promotion(self) -> Record | None:
        """See `promotions.last_promotion`."""
        return promotions.last_promotion(self.records)

    def promotion_of(self, digest: str, at: LanceRef) -> Record | None:
        """See `promotions.promotion_of`."""
        return promotions.promotion_of(digest, at, self.records)

    def made_from(self, record: Record, asset: str) -> Record | None:
        """See `promotions.made_from`."""
        return promotions.made_from(record, asset, self.records)
