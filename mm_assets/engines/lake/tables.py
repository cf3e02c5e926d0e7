"""The seam to Lance: a lake of tables, each found, opened and created by name. Commits are in `commits`."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import lance
import pyarrow as pa

from mm_assets.engines.lake.schemas import missing, stamp
from mm_assets.engines.store.opening import place_at
from mm_assets.engines.store.place import Place
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.refs import LanceRef
from mm_assets.settings import S3Settings

TABLE_ID = b"mm.table_id"
AWS = S3Settings()
# Blob v2 needs file version 2.2; stable row ids cannot be switched on later.
STORAGE_VERSION = "2.2"


class GoneError(RefusalError):
    """The version was removed."""


@dataclass(frozen=True)
class Lake:
    """The tables and models under one root, a folder or `s3://bucket/prefix`; small, and travels to every worker."""

    root: str
    s3: S3Settings = AWS

    def uri(self, table: str) -> str:
        """The uri of a table."""
        return f"{self.root}/{table}.lance"

    @cached_property
    def place(self) -> Place:
        """The place of all files of the lake."""
        return place_at(self.root, self.s3)

    def place_of(self, table: str) -> Place:
        """The place of a table's files."""
        return self.place.below(f"{table}.lance")

    @cached_property
    def options(self) -> dict[str, str] | None:
        """Lance's options for the store; None for a folder."""
        return self.place.storage_options()

    def exists(self, table: str) -> bool:
        """Whether the lake has the table."""
        return self._find(table, None) is not None

    def _find(self, table: str, version: int | None) -> lance.LanceDataset | None:
        if self.place_of(table).below("_versions").is_missing():
            return None
        try:
            return lance.dataset(self.uri(table), version=version, storage_options=self.options)
        except ValueError as error:
            if version is None and "not found" in str(error).lower():
                return None
            raise

    def open(self, table: str, version: int | None = None) -> lance.LanceDataset:
        """Open a table at a version, or at its newest one.

        Raises:
            RefusalError: the lake has no such table.
        """
        ds = self._find(table, version)
        if ds is None:
            raise RefusalError(f"the lake {self.root} has no table {table}")
        return ds

    def open_at(self, ref: LanceRef) -> lance.LanceDataset:
        """Open a pinned version.

        Raises:
            GoneError: the version expired, and maintenance removed it.
            RefusalError: the table was created anew since, so its version numbers mean other versions.
        """
        try:
            ds = self.open(ref.table, ref.version)
        except (OSError, ValueError) as error:
            if "not found" not in str(error).lower():
                raise
            raise GoneError(
                f"{ref} is gone: it expired (upkeep.keep_last); materialize what was made from it again"
            ) from None
        if table_id(ds) != ref.table_id:
            raise RefusalError(
                f"{ref} is gone: {ref.table}.lance was created anew since; materialize what was made from it again"
            )
        return ds

    def open_or_create(
        self, table: str, schema: pa.Schema, properties: Mapping[str, str], extra: Mapping[str, str] | None = None
    ) -> lance.LanceDataset:
        """Open a table's newest version; create it empty, with a random id in its schema, where it is missing.

        A table of an earlier release may lack columns: `history.opening` adds them for a step.

        Raises:
            RefusalError: the table cannot be brought up to the schema.
        """
        existing = self._find(table, None)
        if existing is not None:
            if not table_id(existing):
                raise RefusalError(
                    f"{table}.lance of the lake {self.root} was written over outside (it has no id any more): restore "
                    f'an earlier version (`lance.dataset("{self.uri(table)}", version=...).restore()`), or move it away'
                )
            missing(existing, schema)  # refuses what no step could bring up
            return existing
        self.place.create()
        try:
            return self._create(table, schema, properties, extra or {})
        except OSError:  # another process created it meanwhile
            if self._find(table, None) is None:
                raise
            return self.open_or_create(table, schema, properties, extra)

    def _create(
        self, table: str, schema: pa.Schema, properties: Mapping[str, str], extra: Mapping[str, str]
    ) -> lance.LanceDataset:
        """Create a missing table by a transaction that is tried once.

        `lance.write_dataset` is not used: where two processes create a table at once, the second writes over the first.
        By then the first may have rows.

        Raises:
            OSError: another process was first.
        """
        metadata = {TABLE_ID: uuid.uuid4().hex.encode(), **stamp(schema), **pa.KeyValueMetadata(dict(extra))}
        operation = lance.LanceOperation.Overwrite(schema.with_metadata(metadata), [])
        transaction = lance.Transaction(0, operation, str(uuid.uuid4()), transaction_properties=dict(properties))
        return lance.LanceDataset.commit(
            self.uri(table),
            transaction,
            storage_options=self.options,
            enable_v2_manifest_paths=True,
            enable_stable_row_ids=True,
            max_retries=0,
        )

    def ref(self, table: str, version: int) -> LanceRef:
        """The reference that names a version of a table of this lake."""
        return LanceRef(table, table_id(self.open(table)), version)


def name_of(ds: lance.LanceDataset) -> str:
    """The name of an opened table."""
    return str(ds.uri).rstrip("/").rpartition("/")[2].removesuffix(".lance")


def table_id(ds: lance.LanceDataset) -> str:
    """The random id that a table got at its creation. A table that was created anew has another one.

    A table that somebody outside wrote over has no id (""), so no record of the history belongs to it.
    """
    return (ds.schema.metadata or {}).get(TABLE_ID, b"").decode()


def write_fragments(tables: Lake, table: str, rows: pa.Table) -> list[lance.FragmentMetadata]:
    """Write rows as new fragments, without a commit. A Ray worker calls this, and the driver commits."""
    return lance.fragment.write_fragments(
        rows,
        tables.uri(table),
        schema=rows.schema,
        mode="append",
        enable_stable_row_ids=True,
        data_storage_version=STORAGE_VERSION,
        storage_options=tables.options,
    )
