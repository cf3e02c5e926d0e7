"""Indexes on keys: made, kept up to date, and right whatever was done to the table."""

import random
from collections.abc import Callable

import pytest

from mm_assets.engines.lake.commits import fence
from mm_assets.engines.lake.rows import rows_by_key
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.lake.upkeep import indexes as lance_indexes
from mm_assets.engines.lake.upkeep.compaction import compact
from mm_assets.engines.lake.upkeep.indexes import keep_indexes
from mm_assets_tests.kit.past import TABLE, put, score, with_a_past

QUERY = "image_id in ('003.png', 'none.png')"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tables get an index too."""
    monkeypatch.setattr(lance_indexes, "LEAST_ROWS", 1)


def used(tables: Lake) -> bool:
    return "ScalarIndexQuery" in tables.open(TABLE).scanner(filter=QUERY).explain_plan()


def test_an_index_is_made_where_it_is_wanted_and_there_are_rows_enough(tables: Lake) -> None:
    with_a_past(tables)
    version = tables.open(TABLE).version
    assert keep_indexes(tables, TABLE, create=True) == []
    assert tables.open(TABLE).version == version


@pytest.mark.usefixtures("small")
def test_an_index_is_kept_up_to_date_in_segments_that_are_put_together(anywhere: Lake) -> None:
    with_a_past(anywhere)
    assert keep_indexes(anywhere, TABLE, create=False) == []
    assert keep_indexes(anywhere, TABLE, create=True) == ["images: index on image_id made"]
    assert used(anywhere)
    segments = []
    for seed in range(lance_indexes.MOST_SEGMENTS + 1):
        put(anywhere, [f"late-{seed}.png"], seed=seed)
        done = keep_indexes(anywhere, TABLE, create=False)
        assert done == ["images: 1 rows added to the index image_id_idx"]
        assert keep_indexes(anywhere, TABLE, create=True) == []
        segments.append(anywhere.open(TABLE).stats.index_stats("image_id_idx")["num_indices"])
    assert segments == [*range(2, lance_indexes.MOST_SEGMENTS + 1), 1, 2]


@pytest.mark.usefixtures("small")
def test_a_look_up_by_index_finds_what_a_pass_over_the_table_finds(tables: Lake) -> None:
    chance = random.Random(7)
    with_a_past(tables)
    keep_indexes(tables, TABLE, create=True)
    names = [f"{number:03}.png" for number in range(80)]

    def there() -> list[str]:
        return sorted(tables.open(TABLE).to_table(columns=["image_id"])["image_id"].to_pylist())

    def replace_some() -> None:
        new = chance.sample(names, 5)
        put(tables, new, drop=tuple(new), seed=chance.randrange(1000))

    steps: list[Callable[[], object]] = [
        replace_some,
        lambda: put(tables, [], drop=tuple(chance.sample(there(), 2))),
        lambda: score(tables, chance.random(), chance.sample(there(), 5)),
        lambda: compact(tables, TABLE, 10_000_000, print),
        lambda: keep_indexes(tables, TABLE, create=True),
        lambda: fence(tables, TABLE, {}),
    ]
    for _ in range(40):
        chance.choice(steps)()
        ds = tables.open(TABLE)
        keys = [*chance.sample(names, 5), "none.png"]
        rows = ds.to_table(columns=["image_id"], with_row_id=True).to_pylist()
        expected = sorted((row["image_id"], row["_rowid"]) for row in rows if row["image_id"] in keys)
        rows_found = rows_by_key(ds, "image_id", keys).to_pylist()
        assert sorted((row["image_id"], row["_rowid"]) for row in rows_found) == expected
        assert used(tables)
