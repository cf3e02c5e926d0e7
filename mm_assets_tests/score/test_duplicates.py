"""Near-duplicate groups against all pairs, and names that last."""

import numpy as np
import pytest

from mm_assets.score.duplicates import components, group_names


def all_pairs(hashes: np.ndarray, max_distance: int) -> np.ndarray:
    roots = np.arange(len(hashes))
    near = np.bitwise_count(hashes[:, None] ^ hashes[None, :]) <= max_distance
    while True:
        joined = np.array([roots[row].min() for row in near])
        if np.array_equal(joined, roots):
            return roots
        roots = joined


@pytest.mark.parametrize("max_distance", [0, 1, 2, 3, 6, 8, 10])
def test_groups_equal_those_of_comparing_all_pairs(max_distance: int) -> None:
    rng = np.random.default_rng(max_distance)
    hashes = rng.integers(0, 2**63, 150, dtype=np.uint64)
    for distance in (0, max_distance, max_distance, max_distance + 1):
        copies = hashes[:40].copy()
        for _ in range(distance):
            copies ^= np.uint64(1) << rng.integers(0, 64, 40).astype(np.uint64)
        hashes = np.concatenate([hashes, copies])
    rng.shuffle(hashes)
    assert np.array_equal(components(hashes, max_distance), all_pairs(hashes, max_distance))


def test_no_hashes_have_no_groups() -> None:
    assert components(np.array([], np.uint64), 2).tolist() == []


def test_many_equal_hashes_are_one_group() -> None:
    assert set(components(np.full(5000, 7, np.uint64), 2).tolist()) == {0}


def names(ids: list[str], roots: list[int], before: list[str | None]) -> list[str]:
    return group_names(ids, np.array(roots), before)


def test_a_group_is_named_after_its_first_member() -> None:
    assert names(["a", "b", "c"], [0, 1, 0], [None, None, None]) == ["a", "b", "a"]


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
