"""What a table weighs, and in how many pieces it lies."""

from dataclasses import dataclass

import pyarrow.compute as pc

from mm_assets.engines.lake.files import Weights, files_of
from mm_assets.engines.lake.tables import Lake
from mm_assets.stages.ingest.tables import IMAGES

MB = 1e6


@dataclass(frozen=True)
class TableState:
    """A table at one moment.

    Args:
        version: its newest.
        bytes_on_disk: of all its files.
        raw_bytes: of the images' own bytes; for a table without images, of the files of the newest version.
        fragments: of the newest version.
        versions: that can be read.
    """

    version: int
    bytes_on_disk: int
    raw_bytes: int
    fragments: int
    versions: int

    @property
    def ratio(self) -> float | None:
        """Bytes on disk / raw bytes."""
        return round(self.bytes_on_disk / self.raw_bytes, 3) if self.raw_bytes else None

    def against(self, later: "TableState") -> str:
        """Before and after, in a line."""
        return (
            f"{self.fragments:,} -> {later.fragments:,} fragments, {self.versions:,} -> {later.versions:,} versions, "
            f"{self.bytes_on_disk / MB:,.1f} -> {later.bytes_on_disk / MB:,.1f} MB"
        )


def state_of(tables: Lake, table: str) -> TableState:
    """Look at a table."""
    files, ds = files_of(tables, table), tables.open(table)
    if table == IMAGES:
        sizes = ds.to_table(columns=["num_bytes"], filter="error is null")["num_bytes"]
        raw = pc.sum(sizes).as_py() or 0
    else:
        weights = Weights(files)
        raw = sum(weights.of(fragment.metadata) for fragment in ds.get_fragments())
    return TableState(
        version=ds.version,
        bytes_on_disk=sum(file.num_bytes for file in files.values()),
        raw_bytes=raw,
        fragments=len(ds.get_fragments()),
        versions=sum(path.endswith(".manifest") for path in files),
    )
