"""The one seam to Lance: a lake of tables, commits that carry properties, cells written in place."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.engines.s3 import is_s3, split, storage_options
from mm_assets.lineage.refs import ASSETS, LanceRef, RefusalError
from mm_assets.settings import S3Settings

TABLE_ID = b"mm.table_id"
AWS = S3Settings()
# Blob v2 needs file version 2.2; stable row ids cannot be switched on later.
STORAGE_VERSION = "2.2"
KEY = {"lance-schema:unenforced-primary-key": "true"}


def key_field(name: str) -> pa.Field:
    """A string primary key, as Lance wants it declared at creation."""
    return pa.field(name, pa.string(), nullable=False, metadata=KEY)


@dataclass(frozen=True)
class LakeTables:
    """The tables and models under one root, a folder or `s3://bucket/prefix`; small, and travels to every worker."""

    root: str
    s3: S3Settings = AWS

    def uri(self, table: str) -> str:
        """Where a table lies."""
        return f"{self.root}/{table}.lance"

    @cached_property
    def options(self) -> dict[str, str] | None:
        """What Lance is told about the store; None for a folder."""
        return storage_options(self.s3, split(self.root)[0]) if is_s3(self.root) else None

    def exists(self, table: str) -> bool:
        """Whether the table was ever created here."""
        return self._find(table, None) is not None

    def _find(self, table: str, version: int | None) -> lance.LanceDataset | None:
        if self.options is None and not Path(self.uri(table), "_versions").is_dir():
            return None
        try:
            return lance.dataset(self.uri(table), version=version, storage_options=self.options)
        except ValueError as error:
            if version is None and "not found" in str(error).lower():
                return None
            raise

    def open(self, table: str, version: int | None = None) -> lance.LanceDataset:
        """A table at a version (its newest where none is given).

        Raises:
            RefusalError: the lake has no such table.
        """
        ds = self._find(table, version)
        if ds is None:
            raise RefusalError(f"the lake {self.root} has no table {table}")
        return ds

    def open_at(self, ref: LanceRef) -> lance.LanceDataset:
        """A pinned version.

        Raises:
            RefusalError: the table was created anew since, and its versions are others.
        """
        ds = self.open(ref.table, ref.version)
        if table_id(ds) != ref.table_id:
            raise RefusalError(
                f"{ref} is gone: {ref.table}.lance was created anew since; materialize what was made from it again"
            )
        return ds

    def open_or_create(
        self, table: str, schema: pa.Schema, properties: Mapping[str, str], extra: Mapping[str, str] | None = None
    ) -> lance.LanceDataset:
        """The newest version of a table, created empty (with a random id in its schema) where it is missing.

        Raises:
            RefusalError: the table lacks a column that the schema has.
        """
        known = self._find(table, None)
        if known is not None:
            missing = sorted(set(schema.names) - set(known.schema.names))
            if missing:
                raise RefusalError(
                    f"{table}.lance of the lake {self.root} has no column {missing[0]}: an earlier version "
                    "made it; set MM_LAKE to a new place"
                )
            return known
        if self.options is None:
            Path(self.root).mkdir(parents=True, exist_ok=True)
        metadata = {TABLE_ID.decode(): uuid.uuid4().hex, **(extra or {})}
        return lance.write_dataset(
            schema.with_metadata(metadata).empty_table(),
            self.uri(table),
            data_storage_version=STORAGE_VERSION,
            enable_stable_row_ids=True,
            transaction_properties=dict(properties),
            storage_options=self.options,
        )

    def ref(self, table: str, version: int) -> LanceRef:
        """The reference that names a version of a table of this lake."""
        return LanceRef(table, table_id(self.open(table)), version)


def table_id(ds: lance.LanceDataset) -> str:
    """The random id that a table got at its creation; a dropped and recreated table has another one."""
    return ds.schema.metadata[TABLE_ID].decode()


def properties_of(ds: lance.LanceDataset, version: int) -> dict[str, str]:
    """Transaction properties of one commit ({} where it carries none)."""
    return dict(ds.read_transaction(version).transaction_properties or {})


def commits_after(ds: lance.LanceDataset, version: int) -> Iterable[tuple[int, dict[str, str]]]:
    """Versions above `version` in rising order, with their transaction properties."""
    for item in ds.versions():
        if item["version"] > version:
            yield item["version"], properties_of(ds, item["version"])


def carries(properties: Mapping[str, str], asset: str) -> bool:
    """Whether a commit holds rows or cells of an asset."""
    return asset in properties.get(ASSETS, "").split(",")


def commit(
    ds: lance.LanceDataset, operation: lance.LanceOperation.BaseOperation, properties: Mapping[str, str]
) -> lance.LanceDataset:
    """Commit an operation that was prepared on `ds`, with properties."""
    transaction = lance.Transaction(ds.version, operation, transaction_properties=dict(properties))
    return lance.LanceDataset.commit(ds, transaction)


def tag(ds: lance.LanceDataset, name: str, version: int) -> None:
    """Protect a version; doing it again changes nothing."""
    if name not in ds.tags.list():
        ds.tags.create(name, version)


def write_fragments(tables: LakeTables, table: str, rows: pa.Table) -> list[lance.FragmentMetadata]:
    """Write rows as new, uncommitted fragments (on a Ray worker); the driver commits them."""
    return lance.fragment.write_fragments(
        rows,
        tables.uri(table),
        schema=rows.schema,
        mode="append",
        enable_stable_row_ids=True,
        data_storage_version=STORAGE_VERSION,
        storage_options=tables.options,
    )


def replace_rows(
    ds: lance.LanceDataset,
    key: str,
    drop: list[str],
    fragments: list[lance.FragmentMetadata],
    properties: Mapping[str, str],
) -> lance.LanceDataset:
    """Take rows out by key and put new fragments in, in one commit.

    A replaced row is a new row (new row id, every column not in the fragment null), so nothing that was computed
    from its old bytes survives.
    """
    if not drop:
        return commit(ds, lance.LanceOperation.Append(fragments), properties)
    updated, removed = [], []
    for fragment_id, keys in _keys_by_fragment(ds, key, drop).items():
        left = ds.get_fragment(fragment_id).delete(f"{key} in ({', '.join(map(_quoted, keys))})")
        if left is None:
            removed.append(fragment_id)
        else:
            updated.append(left)
    operation = lance.LanceOperation.Update(
        removed_fragment_ids=removed, updated_fragments=updated, new_fragments=fragments, fields_modified=[]
    )
    return commit(ds, operation, properties)


def _keys_by_fragment(ds: lance.LanceDataset, key: str, keys: list[str]) -> dict[int, list[str]]:
    rows = ds.scanner(columns=[key], with_row_address=True).to_table()
    rows = rows.filter(pc.is_in(rows[key], pa.array(keys, pa.string())))
    found: dict[int, list[str]] = {}
    for address, value in zip(rows["_rowaddr"].to_pylist(), rows[key].to_pylist(), strict=True):
        found.setdefault(address >> 32, []).append(value)
    return found


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def add_columns(ds: lance.LanceDataset, fields: list[pa.Field], properties: Mapping[str, str]) -> lance.LanceDataset:
    """Add null columns by a Merge commit, which carries properties (`add_columns` of Lance carries none)."""
    schema = pa.schema([*ds.schema, *fields], metadata=ds.schema.metadata)
    operation = lance.LanceOperation.Merge([fragment.metadata for fragment in ds.get_fragments()], schema)
    return commit(ds, operation, properties)


def update_cells(ds: lance.LanceDataset, cells: pa.Table, properties: Mapping[str, str]) -> lance.LanceDataset:
    """Write cells by `_rowid` into the fragments that hold those rows; other columns and rows are not touched.

    Args:
        ds: the table, at its newest version.
        cells: `_rowid` (uint64) and the columns to write.
        properties: of the commit.
    """
    rows = ds.scanner(columns=[], with_row_id=True, with_row_address=True).to_table()
    rows = rows.filter(pc.is_in(rows["_rowid"], cells["_rowid"]))
    touched = np.unique(rows["_rowaddr"].to_numpy() >> np.uint64(32))
    updated, fields, offsets = [], [], {}
    for fragment_id in map(int, touched):
        metadata, fields, changed = ds.get_fragment(fragment_id).update_columns(
            cells, left_on="_rowid", with_offsets=True
        )
        updated.append(metadata)
        offsets[fragment_id] = changed
    operation = lance.LanceOperation.Update(
        updated_fragments=updated,
        fields_modified=fields,
        update_mode="rewrite_columns",
        updated_fragment_offsets=offsets,
    )
    return commit(ds, operation, properties)


def difference(current: pa.Table, desired: pa.Table, key: str) -> tuple[list[str], list[str]]:
    """Keys that `desired` adds or changes, and keys that it no longer has."""
    positions = pc.index_in(desired[key], current[key])
    known = desired.filter(positions.is_valid())
    before = current.take(positions.drop_null())
    changed = np.zeros(known.num_rows, dtype=bool)
    for name in desired.schema.names:
        changed |= _differs(known[name], before[name])
    new = desired.filter(positions.is_null())[key].to_pylist()
    gone = current.filter(pc.invert(pc.is_in(current[key], desired[key])))[key].to_pylist()
    return new + known.filter(pa.array(changed))[key].to_pylist(), gone


def _differs(left: pa.ChunkedArray, right: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_nested(left.type):  # compute has no comparison of lists and structs
        pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
        return np.fromiter((a != b for a, b in pairs), dtype=bool, count=len(left))
    unequal = pc.fill_null(pc.not_equal(left, right), False)
    one_null = pc.xor(pc.is_null(left), pc.is_null(right))
    return pc.or_(unequal, one_null).to_numpy()


def sync_rows(
    tables: LakeTables, ds: lance.LanceDataset, table: str, key: str, desired: pa.Table, properties: Mapping[str, str]
) -> lance.LanceDataset | None:
    """Make a table's rows equal to `desired` by one commit that writes only the difference.

    Returns:
        The new version, or None where nothing differs.
    """
    current = ds.to_table(columns=desired.schema.names)
    written, gone = difference(current, desired, key)
    if not written and not gone:
        return None
    rows = desired.filter(pc.is_in(desired[key], pa.array(written, pa.string())))
    fragments = write_fragments(tables, table, rows.cast(pa.schema(list(ds.schema)))) if written else []
    known = set(current[key].to_pylist())
    return replace_rows(ds, key, gone + [value for value in written if value in known], fragments, properties)
