"""Near-duplicate groups against all pairs, and names that last."""

import numpy as np
import pyarrow as pa
import pytest

from mm_assets.stages.score.duplicates import components, group_names


def all_pairs(hashes: np.ndarray, max_distance: int) -> np.ndarray:
    roots = np.arange(len(hashes))
    near = np.bitwise_count(hashes[:, None] ^ hashes[None, :]) <= max_distance
    while True:
        joined = np.array([roots[row].min() for row in near])
        if np.array_equal(joined, roots):
            return roots
        roots = joined


def clustered(max_distance: int) -> np.ndarray:
    rng = np.random.default_rng(max_distance)
    hashes = rng.integers(0, 2**63, 150, dtype=np.uint64)
    for distance in (0, max_distance, max_distance, max_distance + 1):
        copies = hashes[:40].copy()
        for _ in range(distance):
            copies ^= np.uint64(1) << rng.integers(0, 64, 40).astype(np.uint64)
        hashes = np.concatenate([hashes, copies])
    rng.shuffle(hashes)
    return hashes


DISTANCES = pytest.mark.parametrize("max_distance", [0, 1, 2, 3, 6, 8, 10])


@DISTANCES
def test_groups_equal_those_of_comparing_all_pairs(max_distance: int) -> None:
    hashes = clustered(max_distance)
    assert np.array_equal(components(hashes, max_distance), all_pairs(hashes, max_distance))


@DISTANCES
@pytest.mark.parametrize("new", [0, 1, 30, 309])
def test_groups_that_are_known_are_not_compared_again(max_distance: int, new: int) -> None:
    hashes = clustered(max_distance)
    old = np.random.default_rng(new).permutation(len(hashes)) >= new
    known = np.full(len(hashes), -1)
    known[old] = components(hashes[old], max_distance) * 3
    assert np.array_equal(components(hashes, max_distance, known), components(hashes, max_distance))


def test_what_is_said_to_be_known_is_believed() -> None:
    hashes = np.array([0, 1, 2**40 - 1, 2**40 - 2, 3], np.uint64)
    assert components(hashes, 1).tolist() == [0, 0, 2, 2, 0]
    assert components(hashes, 1, np.array([0, 1, 2, 3, -1])).tolist() == [0, 1, 2, 3, 1]


def test_many_pairs_are_compared_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mm_assets.stages.score.duplicates.MOST_PAIRS", 7)
    hashes = np.arange(300, dtype=np.uint64)
    known = np.where(np.arange(300) < 200, 0, -1)
    assert np.array_equal(components(hashes, 3, known), components(hashes, 3))


def test_no_hashes_have_no_groups() -> None:
    assert components(np.array([], np.uint64), 2).tolist() == []


def test_many_equal_hashes_are_one_group() -> None:
    assert set(components(np.full(5000, 7, np.uint64), 2).tolist()) == {0}


def names(ids: list[str], roots: list[int], before: list[str | None]) -> list[str]:
    found: list[str] = group_names(
        pa.chunked_array([pa.array(ids, pa.string())]),
        np.array(roots, np.int64),
        pa.chunked_array([pa.array(before, pa.string())]),
    ).to_pylist()
    return found


def test_a_group_is_named_after_its_first_member() -> None:
    assert names(["a", "b", "c"], [0, 1, 0], [None, None, None]) == ["a", "b", "a"]
    assert names([], [], []) == []


def test_in_which_order_new_images_came_decides_nothing() -> None:
    assert names(["c", "b", "a"], [0, 1, 0], [None, None, None]) == ["a", "b", "a"]


def test_a_name_lasts_when_members_come_and_go() -> None:
    assert names(["a", "b", "c"], [0, 1, 0], ["a", "b", None]) == ["a", "b", "a"]
    assert names(["c", "b"], [0, 1], ["a", "b"]) == ["a", "b"]  # a itself was removed


def test_the_older_name_wins_when_two_groups_join() -> None:
    assert names(["a", "b", "c", "d"], [0, 0, 0, 0], ["a", "b", "b", None]) == ["a", "a", "a", "a"]


def test_a_name_belongs_to_one_group() -> None:
    # a was removed from the group a, and came back as another picture.
    assert names(["b", "a"], [0, 1], ["a", None]) == ["a", "a~2"]
    # A smaller distance splits a group: the part with the oldest member keeps the name.
    assert names(["a", "b"], [0, 1], ["a", "a"]) == ["a", "b"]
    assert names(["a", "b", "c"], [0, 1, 0], ["x", "x", "x"]) == ["x", "b", "x"]


def test_names_that_are_taken_get_a_number_that_is_free() -> None:
    old = ["a", "a~2", "a~2~2"]
    assert names(["x", "y", "z", "a", "b"], [0, 1, 2, 3, 4], [*old, None, None]) == [*old, "a~3", "b"]
    assert names(["x", "a", "a~2"], [0, 1, 2], ["a", None, None]) == ["a", "a~3", "a~2"]


def one_by_one(roots: list[int], before: list[str | None]) -> list[str]:
    """The names that go on, in the order of age; the others are left empty."""
    names: dict[int, str] = {}
    for root, old in zip(roots, before, strict=True):
        if root not in names and old is not None and old not in names.values():
            names[root] = old
    return [names.get(root, "") for root in roots]


@pytest.mark.parametrize("seed", range(20))
def test_who_keeps_a_name_is_decided_by_age(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = [f"i{number}" for number in rng.permutation(60)]
    roots = components(rng.integers(0, 2**6, 60, dtype=np.uint64), 0).tolist()
    before = [None if rng.random() < 0.3 else f"g{rng.integers(0, 25)}" for _ in ids]
    expected = one_by_one(roots, before)
    found = names(ids, roots, before)
    assert [name if old else "" for name, old in zip(found, expected, strict=True)] == expected
    assert len(set(zip(roots, found, strict=True))) == len(set(roots)) == len(set(found))
