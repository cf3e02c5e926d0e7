"""One materialization with its lake and history, for checks and previews."""

from dataclasses import dataclass
from functools import cached_property

import lance

from mm_assets.engines.lake.tables import Lake
from mm_assets.history.history import History
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.records import Record


@dataclass(frozen=True)
class Materialized:
    """A materialization, and the history that it is part of."""

    record: Record
    history: History

    @property
    def lake(self) -> Lake:
        """The lake that holds it."""
        return self.history.lake

    @cached_property
    def ds(self) -> lance.LanceDataset:
        """The asset's table at that materialization."""
        return self.lake.open_at(self.record.ref)

    def input(self, asset: str) -> Record:
        """The materialization of an asset among the ancestors of this one.

        Raises:
            RefusalError: there is none.
        """
        record = self.history.made_from(self.record, asset)
        if record is None:
            raise RefusalError(f"{self.record.data_version} was made from no {asset}: materialize it again")
        return record
