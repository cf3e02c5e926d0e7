"""Columns: what each one holds, and which columns of other assets it is made from. The stages say which there are."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Self

import pyarrow as pa

Source = tuple[str, str]  # asset, column


class Kind(Enum):
    """What a column is to its table."""

    VALUE = "value"
    KEY = "key"
    BLOB = "blob"


@dataclass(frozen=True)
class Column:
    """A column of a table, said once: its schema, Dagster's column schema and column lineage are made from it.

    Args:
        name: of the column.
        type: of its values.
        sentence: what it holds, for the UI; None where a user's own scorer does not say it.
        made_from: columns of other assets; none for what comes from outside, or tells of the run.
        kind: its part in the table.
        since: the version of the table's schema from which on it is there.
    """

    name: str
    type: pa.DataType
    sentence: str | None = None
    made_from: tuple[Source, ...] = ()
    kind: Kind = Kind.VALUE
    since: int = 1

    def of_another(self, *made_from: Source, kind: Kind = Kind.VALUE) -> Self:
        """The same column in the table of another asset."""
        return replace(self, made_from=made_from, kind=kind, since=1)


# Columns by asset, of all assets that fill the same table.
TableColumns = Mapping[str, Sequence[Column]]


def sources(asset: str, *names: str) -> tuple[Source, ...]:
    """Columns of an asset, as what another column is made from."""
    return tuple((asset, name) for name in names)


def handed_on(asset: str, columns: Sequence[Column], *names: str) -> list[Column]:
    """Columns of an asset that another one has as they are."""
    by_name = {column.name: column for column in columns}
    return [by_name[name].of_another((asset, name)) for name in names]


def sources_of(columns: Sequence[Column], names: Collection[str]) -> dict[str, list[Source]]:
    """Column lineage: the sources of those of the columns that a table has, without those that have none."""
    return {column.name: list(column.made_from) for column in columns if column.made_from and column.name in names}


def sentence_of(table: TableColumns, asset: str, name: str) -> str | None:
    """What a column of an asset's table holds; of a name that several have, what the asset itself says."""
    own = (column for column in table[asset] if column.name == name)
    others = (column for columns in table.values() for column in columns if column.name == name)
    column = next(own, None) or next(others, None)
    return column.sentence if column else _state_sentence(name)


def state_columns(maker: str, made_from: tuple[Source, ...]) -> list[Column]:
    """The columns in which what fills cells says of each by which revision it was computed, and why it was not."""
    names = (f"{maker}_rev", f"{maker}_error")
    return [Column(name, pa.string(), _state_sentence(name), made_from) for name in names]


def _state_sentence(name: str) -> str | None:
    """By its name, for a table keeps such columns of what is no more."""
    if name.endswith("_rev"):
        return f"The revision of {name.removesuffix('_rev')} that computed the cell; null: not computed."
    if name.endswith("_error"):
        return f"Why {name.removesuffix('_error')} failed on the image; null where it did not."
    return None
