"""Columns as Arrow fields for Lance. Lance itself is imported only for a column that holds files."""

from collections.abc import Iterable

import pyarrow as pa

from mm_assets.lineage.columns import Column, Kind

KEY = {"lance-schema:unenforced-primary-key": "true"}
SINCE = b"mm.since"


def key_field(name: str) -> pa.Field:
    """A string primary key, as Lance wants it declared at creation."""
    return pa.field(name, pa.string(), nullable=False, metadata=KEY)


def since(version: int, field: pa.Field) -> pa.Field:
    """A field that is in the schema from this version on."""
    return field.with_metadata({**(field.metadata or {}), SINCE: str(version).encode()})


def field_of(column: Column) -> pa.Field:
    """A column as a field."""
    field = _field(column)
    return since(column.since, field) if column.since > 1 else field


def _field(column: Column) -> pa.Field:
    if column.kind is Kind.KEY:
        return key_field(column.name)
    if column.kind is Kind.BLOB:
        import lance

        return lance.blob_field(column.name)
    return pa.field(column.name, column.type)


def schema_of(columns: Iterable[Column]) -> pa.Schema:
    """A schema of columns, in their order."""
    return pa.schema([field_of(column) for column in columns])
