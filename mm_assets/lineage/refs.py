"""References to versions of Lance tables, and the names of their tags."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class LanceRef:
    """One version of one Lance table; `str()` of it is the data version that Dagster shows."""

    table: str
    table_id: str
    version: int

    def __str__(self) -> str:
        return f"{self.table}:{self.table_id[:6]}@v{self.version}"


@dataclass(frozen=True)
class InputRef:
    """An input of a materialization: which asset, at which data version, by which record."""

    asset: str
    data_version: str
    record_id: str


def version_of(data_version: str) -> int:
    """The Lance version that a data version (`table:id@vN`) names."""
    return int(data_version.rpartition("@v")[2])


def tag_name(asset: str, version: int) -> str:
    """Lance tag that protects a materialized version (allowed are letters, digits, `.`, `_` and `-`)."""
    return f"{re.sub(r'[^A-Za-z0-9._-]', '.', asset)}.v{version}"
