"""What a table of another release lacks: added where it can be null, else refused by name."""

import re
from importlib.metadata import version
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.fields import key_field, since
from mm_assets.engines.lake.schemas import (
    MADE_BY,
    SCHEMA_VERSION,
    as_stored,
    bring_up,
    filled,
    missing,
    version_of,
)
from mm_assets.engines.lake.tables import Lake
from mm_assets.lineage.errors import RefusalError
from mm_assets.release import RELEASE

FIRST = pa.schema([key_field("id"), pa.field("value", pa.int64())])
# Of a release that comes later: in the middle, where a reader of the schema expects it.
NOTE = since(2, pa.field("note", pa.string()))
LATER = pa.schema([FIRST.field(0), NOTE, FIRST.field(1)])


@pytest.fixture
def old(tables: Lake) -> Lake:
    """A table of the first release, which said nothing of its schema, with a row."""
    metadata = {"mm.table_id": "0" * 32}
    rows = pa.table({"id": ["a"], "value": [1]}, schema=FIRST.with_metadata(metadata))
    lance.write_dataset(rows, tables.uri("t"), enable_stable_row_ids=True, data_storage_version="2.2")
    return tables


def stamped(old: Lake, number: int, release: str) -> lance.LanceDataset:
    """The table as a later release left it."""
    metadata = {**old.open("t").schema.metadata, SCHEMA_VERSION: str(number).encode(), MADE_BY: release.encode()}
    old.open("t").replace_schema_metadata({key.decode(): value.decode() for key, value in metadata.items()})
    return old.open("t")


def test_tables_name_the_release_that_is_installed() -> None:
    assert version("mm-assets") == RELEASE


def test_the_version_of_a_schema_is_that_of_its_newest_column() -> None:
    assert (version_of(FIRST), version_of(LATER)) == (1, 2)


def test_a_column_that_can_be_null_is_added_and_no_file_is_written(old: Lake) -> None:
    files = set(Path(old.uri("t"), "data").iterdir())
    assert missing(old.open("t"), LATER) == [NOTE]
    done = commit(old, "t", lambda ds: bring_up(ds, LATER), {})
    assert done is not None
    assert done.to_table().to_pylist() == [{"id": "a", "value": 1, "note": None}]
    assert (done.schema.metadata[SCHEMA_VERSION], done.schema.metadata[MADE_BY]) == (b"2", RELEASE.encode())
    assert done.schema.metadata[b"mm.table_id"] == b"0" * 32
    assert set(Path(old.uri("t"), "data").iterdir()) == files
    assert commit(old, "t", lambda ds: bring_up(ds, LATER), {}) is None  # there already


def test_of_two_that_bring_a_table_up_at_once_one_finds_it_done(old: Lake) -> None:
    """The second prepared its commit on the same version."""
    before, tries = old.open("t").version, 0

    def second(ds: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
        nonlocal tries
        tries += 1
        operation = bring_up(ds, LATER)
        if tries == 1:
            assert commit(old, "t", lambda head: bring_up(head, LATER), {}) is not None
        return operation

    assert commit(old, "t", second, {}) is None
    assert (tries, old.open("t").version) == (2, before + 1)


REFUSED: dict[str, tuple[pa.Schema, str]] = {
    "a column that cannot be null": (
        FIRST.append(since(2, pa.field("size", pa.int64(), nullable=False))),
        "t.lance, which release 0.1.0 wrote, has no column size, which cannot be null and was not written then: use "
        "release 0.1.0, or set MM_LAKE to a new place",
    ),
    "another type": (
        pa.schema([FIRST.field(0), pa.field("value", pa.string())]),
        "t.lance, which release 0.1.0 wrote, is int64, and release {} needs string: use release 0.1.0, or set MM_LAKE",
    ),
    "a column that was taken out": (
        FIRST.append(pa.field("label", pa.string())),
        "t.lance, which release 0.1.0 wrote, has no column label any more: somebody outside took it out",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_brought_up_is_refused_by_column_and_release(old: Lake, what: str) -> None:
    schema, sentence = REFUSED[what]
    with pytest.raises(RefusalError, match=re.escape(sentence.format(RELEASE))):
        old.open_or_create("t", schema, {})
    assert old.open("t").version == 1


def test_a_table_of_a_release_that_is_not_known_yet_is_refused(old: Lake) -> None:
    stamped(old, 3, "7.1.0")
    sentence = f"has version 3 of its schema, and release {RELEASE} knows 2: use release 7.1.0 or a later one"
    with pytest.raises(RefusalError, match=sentence):
        old.open_or_create("t", LATER, {})


def test_a_column_of_its_own_version_is_not_put_back(old: Lake) -> None:
    """Nulls in place of what was there would be taken for what was never computed."""
    stamped(old, 2, RELEASE)
    with pytest.raises(RefusalError, match="has no column note any more"):
        old.open_or_create("t", LATER, {})


def test_rows_of_an_earlier_table_are_read_with_nulls(old: Lake) -> None:
    assert filled(old.open("t").to_table(), LATER).to_pylist() == [{"id": "a", "value": 1, "note": None}]


def test_rows_are_written_in_the_order_of_the_table(old: Lake) -> None:
    commit(old, "t", lambda ds: bring_up(ds, LATER), {})
    rows = pa.table({"id": ["b"], "note": ["seen"], "value": [2]}, schema=LATER)
    assert as_stored(rows, old.open("t")).schema.names == ["id", "value", "note"]
    assert as_stored(rows.drop_columns(["note"]), old.open("t")).schema.names == ["id", "value"]
