"""Columns: their contents, and the columns of other assets that they are made from. The stages declare them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Self

import pyarrow as pa

Source = tuple[str, str]  # asset, column


class Kind(Enum):
    """The part of a column in its table."""

    VALUE = "value"
    KEY = "key"
    BLOB = "blob"


@dataclass(frozen=True)
class Column:
    """A column of a table, declared once: Lance's schema, Dagster's column schema and column lineage come from it.

    Args:
        name: of the column.
        type: of its values.
        sentence: its contents, for the UI; None where a user's own scorer has no sentence.
        made_from: columns of other assets. Empty for values from outside or about the run.
        kind: its part in the table.
        since: the version of the table's schema that it came with.
    """

    name: str
    type: pa.DataType
    sentence: str | None = None
    made_from: tuple[Source, ...] = ()
    kind: Kind = Kind.VALUE
    since: int = 1

    def of_another(self, *made_from: Source, kind: Kind = Kind.VALUE) -> Self:
        """This column in the table of another asset."""
        return replace(self, made_from=made_from, kind=kind, since=1)


# The columns of one table, by the asset that fills them.
TableColumns = Mapping[str, Sequence[Column]]


def sources(asset: str, *names: str) -> tuple[Source, ...]:
    """Columns of an asset as sources of another column."""
    return tuple((asset, name) for name in names)


def handed_on(asset: str, columns: Sequence[Column], *names: str) -> list[Column]:
    """Columns that another asset takes over unchanged, with this asset as their source."""
    by_name = {column.name: column for column in columns}
    return [by_name[name].of_another((asset, name)) for name in names]


def sources_of(columns: Sequence[Column], names: Collection[str]) -> dict[str, list[Source]]:
    """Column lineage: the sources of each column in `names`; columns without a source are left out."""
    return {column.name: list(column.made_from) for column in columns if column.made_from and column.name in names}


def sentence_of(table: TableColumns, asset: str, name: str) -> str | None:
    """The sentence of a column by its name; the asset's own sentence comes before those of other assets."""
    own = (column for column in table[asset] if column.name == name)
    others = (column for columns in table.values() for column in columns if column.name == name)
    column = next(own, None) or next(others, None)
    return column.sentence if column else _state_sentence(name)


def state_columns(maker: str, made_from: tuple[Source, ...]) -> list[Column]:
    """The two columns that say of each cell which revision computed it, or why it failed."""
    names = (f"{maker}_rev", f"{maker}_error")
    return [Column(name, pa.string(), _state_sentence(name), made_from) for name in names]


def _state_sentence(name: str) -> str | None:
    """The sentence by the column's name alone: a table keeps such columns of scorers that were removed."""
    if name.endswith("_rev"):
        return f"The revision of {name.removesuffix('_rev')} that computed the cell; null: not computed."
    if name.endswith("_error"):
        return f"Why {name.removesuffix('_error')} failed on the image; null where it did not."
    return None
