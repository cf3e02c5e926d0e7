"""Tables by name: missing ones, and recreated ones."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import lance
import pyarrow as pa
import pytest

from mm_assets.engines.lake.commits import properties_of
from mm_assets.engines.lake.fields import key_field
from mm_assets.engines.lake.schemas import MADE_BY, SCHEMA_VERSION
from mm_assets.engines.lake.tables import STORAGE_VERSION, GoneError, Lake, table_id
from mm_assets.lineage.errors import RefusalError
from mm_assets.release import RELEASE

SCHEMA = pa.schema([key_field("id"), pa.field("value", pa.int64())])


@pytest.fixture
def tables(anywhere: Lake) -> Lake:
    return anywhere


def test_a_missing_table_is_refused_by_name(tables: Lake) -> None:
    with pytest.raises(RefusalError, match="no table t"):
        tables.open("t")


def test_a_recreated_table_has_another_identity(tables: Lake) -> None:
    first = table_id(tables.open_or_create("t", SCHEMA, {}))
    assert table_id(tables.open_or_create("t", SCHEMA, {})) == first
    lance.LanceDataset.drop(tables.uri("t"), tables.options)
    assert table_id(tables.open_or_create("t", SCHEMA, {})) != first


def test_a_new_table_is_in_the_format_of_the_files_that_it_will_hold(tables: Lake) -> None:
    ds = tables.open_or_create("t", SCHEMA, {"mm.run_id": "night"}, {"source": "a folder"})
    assert (ds.data_storage_version, ds.has_stable_row_ids, ds.count_rows()) == (STORAGE_VERSION, True, 0)
    assert ds.schema.metadata[b"source"] == b"a folder"
    assert (ds.schema.metadata[SCHEMA_VERSION], ds.schema.metadata[MADE_BY]) == (b"1", RELEASE.encode())
    assert properties_of(ds.read_transaction(1))["mm.run_id"] == "night"


def test_who_creates_a_table_at_the_same_time_gets_the_same_one(tables: Lake) -> None:
    """The second of two must not write over the first, which may have rows by then."""
    racers, rounds = 4, 10
    start = threading.Barrier(racers)

    def create(name: str) -> tuple[str, int]:
        start.wait()
        ds = tables.open_or_create(name, SCHEMA, {})
        return table_id(ds), ds.version

    with ThreadPoolExecutor(racers) as threads:
        for number in range(rounds):
            found = set(threads.map(create, [f"t{number}"] * racers))
            assert len(found) == 1
            assert found == {(table_id(tables.open(f"t{number}")), 1)}


def test_a_pin_of_a_recreated_table_is_refused(tables: Lake) -> None:
    tables.open_or_create("t", SCHEMA, {})
    ref = tables.ref("t", 1)
    assert tables.open_at(ref).version == 1
    lance.LanceDataset.drop(tables.uri("t"), tables.options)
    tables.open_or_create("t", SCHEMA, {})
    with pytest.raises(RefusalError, match=f"{ref} is gone"):
        tables.open_at(ref)


def test_a_version_that_was_let_go_is_refused_with_what_to_do(tables: Lake) -> None:
    ds = tables.open_or_create("t", SCHEMA, {})
    ref = tables.ref("t", 1)
    rows = pa.table({"id": ["a"], "value": pa.array([1], pa.int64())}, schema=SCHEMA)
    lance.write_dataset(rows, ds, mode="append")
    tables.open("t").cleanup_old_versions(older_than=timedelta(0))
    with pytest.raises(GoneError, match=f"{ref} is gone: it expired"):
        tables.open_at(ref)
