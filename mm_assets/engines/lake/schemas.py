"""Versions of a table's schema: the columns that a table of an earlier release lacks, and the operation to add them.

A column of a later release has the version of the schema that it came with (`since`). A schema's version is the
greatest among its columns. A table's metadata name the schema version and the release that made it or brought it up.
A table without these entries has version 1, by release 0.1.0.
"""

import lance
import pyarrow as pa

from mm_assets.engines.lake.fields import SINCE
from mm_assets.lineage.errors import RefusalError
from mm_assets.release import RELEASE

SCHEMA_VERSION, MADE_BY = b"mm.schema_version", b"mm.release"
FIRST_RELEASE = "0.1.0"


def version_of(schema: pa.Schema) -> int:
    """The version of a schema of this release."""
    return max(map(_since, schema), default=1)


def stamp(schema: pa.Schema) -> dict[bytes, bytes]:
    """The entries of a table's metadata that name its schema version and its release."""
    return {SCHEMA_VERSION: str(version_of(schema)).encode(), MADE_BY: RELEASE.encode()}


def missing(ds: lance.LanceDataset, schema: pa.Schema) -> list[pa.Field]:
    """The columns that a table of an earlier release lacks; each of them can be null.

    Raises:
        RefusalError: the table cannot be brought up to the schema.
    """
    table, at, newest = _Table(ds), _version_at(ds), version_of(schema)
    if at > newest:
        raise RefusalError(
            f"{table} has version {at} of its schema, and release {RELEASE} knows {newest}: use release "
            f"{_release_at(ds)} or a later one"
        )
    for field in schema:
        table.check_type(field)
    return [field for field in schema if field.name not in ds.schema.names and table.can_add(field, at)]


class _Table:
    """A table with the release that wrote it, as the subject of a sentence."""

    def __init__(self, ds: lance.LanceDataset) -> None:
        self._ds = ds

    def __str__(self) -> str:
        return f"{self._ds.uri}, which release {_release_at(self._ds)} wrote,"

    def check_type(self, field: pa.Field) -> None:
        stored = self._ds.schema.field(field.name).type if field.name in self._ds.schema.names else field.type
        if stored != field.type:
            raise RefusalError(
                f"the column {field.name} of {self} is {stored}, and release {RELEASE} needs {field.type}: use release "
                f"{_release_at(self._ds)}, or set MM_LAKE to a new place"
            )

    def can_add(self, field: pa.Field, at: int) -> bool:
        if at >= _since(field):
            raise RefusalError(
                f"{self} has no column {field.name} any more: somebody outside took it out; restore an earlier version "
                f'(`lance.dataset("{self._ds.uri}", version=...).restore()`), or set MM_LAKE to a new place'
            )
        if not field.nullable:
            raise RefusalError(
                f"{self} has no column {field.name}, which cannot be null and was not written then: use release "
                f"{_release_at(self._ds)}, or set MM_LAKE to a new place"
            )
        return True


def bring_up(ds: lance.LanceDataset, schema: pa.Schema) -> lance.LanceOperation.BaseOperation | None:
    """The operation that adds the missing columns to a table, all null; None where none is missing.

    It writes metadata alone. Where two steps bring a table up at once, the second is refused and finds the columns.

    Raises:
        RefusalError: the table cannot be brought up to the schema.
    """
    new = missing(ds, schema)
    if not new:
        return None
    whole = pa.schema([*ds.schema, *new], metadata={**(ds.schema.metadata or {}), **stamp(schema)})
    return lance.LanceOperation.Merge([fragment.metadata for fragment in ds.get_fragments()], whole)


def only_brings_up(before: lance.LanceDataset, operation: lance.LanceOperation.Merge) -> bool:
    """Whether a commit on `before` keeps every row and file, and adds only columns that can be null."""
    if operation.fragments != [fragment.metadata for fragment in before.get_fragments()]:
        return False
    fields, old = list(operation.schema.to_pyarrow()), list(before.lance_schema.to_pyarrow())
    return fields[: len(old)] == old and all(field.nullable for field in fields[len(old) :])


def filled(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Add missing columns, all null, to rows that a table of an earlier release gave."""
    for field in schema:
        if field.name not in rows.schema.names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows


def as_stored(rows: pa.Table, ds: lance.LanceDataset) -> pa.Table:
    """Give rows the column order and metadata of a table, which may have more columns."""
    own = [field for field in ds.schema if field.name in rows.schema.names]
    return rows.select([field.name for field in own]).cast(pa.schema(own))


def _since(field: pa.Field) -> int:
    return int((field.metadata or {}).get(SINCE, b"1"))


def _version_at(ds: lance.LanceDataset) -> int:
    return int((ds.schema.metadata or {}).get(SCHEMA_VERSION, b"1"))


def _release_at(ds: lance.LanceDataset) -> str:
    return (ds.schema.metadata or {}).get(MADE_BY, FIRST_RELEASE.encode()).decode()
