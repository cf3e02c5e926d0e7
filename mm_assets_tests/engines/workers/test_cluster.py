"""The pool of actors, and what is said about long work."""

import os
import signal
from pathlib import Path

import pytest

from mm_assets.engines.workers.cluster import Cluster, ClusterSettings
from mm_assets.lineage.errors import RefusalError
from mm_assets.pace import Pace
from mm_assets.settings import Resources


class Doubler:
    def __init__(self, factor: int) -> None:
        self._factor = factor

    def __call__(self, item: int) -> int:
        if item < 0:
            raise ValueError(f"cannot double {item}")
        return item * self._factor


@pytest.mark.ray
def test_every_item_comes_back_once_with_its_position(cluster: Cluster) -> None:
    found = dict(cluster.map(Doubler, (2,), list(range(20))))
    assert found == {position: position * 2 for position in range(20)}


@pytest.mark.ray
def test_an_error_of_a_worker_reaches_the_driver(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="cannot double -1"):
        list(cluster.map(Doubler, (2,), [1, -1]))


def test_nothing_to_do_starts_no_cluster() -> None:
    unused = Cluster(ClusterSettings(address="nowhere:1"))
    assert list(unused.map(Doubler, (2,), [])) == []


def test_progress_says_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 6.0, 7.0, 12.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    lines: list[str] = []
    progress = Pace("images", 1200, lines.append, every_s=5.0)
    for count in (100, 500, 100, 500):
        progress.add(count)
    assert lines == ["600 of 1,200 images, 100/s, 6 s left", "1,200 of 1,200 images, 100/s, 0 s left"]


@pytest.mark.ray
def test_results_come_back_in_the_order_of_their_items(cluster: Cluster) -> None:
    assert list(cluster.map_ordered(Doubler, (10,), range(1, 20))) == list(range(10, 200, 10))
    assert list(cluster.map_ordered(Doubler, (10,), [])) == []


@pytest.mark.ray
def test_more_than_fits_is_refused_not_waited_for(cluster: Cluster) -> None:
    with pytest.raises(RefusalError, match=r"1 workers of 1000 CPU each do not fit .* nodes have: \d+ CPU"):
        list(cluster.map(Doubler, (2,), [1], needs=Resources(cpus=1000)))
    with pytest.raises(RefusalError, match="8 GPU each do not fit"):
        cluster.require(1, Resources(gpus=8))
    with pytest.raises(RefusalError, match="1 tape each do not fit"):
        cluster.require(1, Resources(other={"tape": 1}))
    with pytest.raises(RefusalError, match="memory each do not fit"):
        cluster.require(1, Resources(memory_bytes=2**60))
    # A pool larger than the cluster is made as large as fits.
    assert dict(cluster.map(Doubler, (2,), [1, 2, 3], actors=500)) == {0: 2, 1: 4, 2: 6}


class Fragile:
    """Ends its process at item 3 as often as its marker file says, or always."""

    def __init__(self, marker: Path, times: int) -> None:
        self._marker, self._times = marker, times

    def __call__(self, item: int) -> int:
        if item == 3 and len(list(self._marker.iterdir())) < self._times:
            (self._marker / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item


@pytest.mark.ray
def test_an_item_whose_worker_is_killed_goes_to_another_one(cluster: Cluster, tmp_path: Path) -> None:
    found = dict(cluster.map(Fragile, (tmp_path, 2), list(range(8)), actors=2))
    assert found == {position: position for position in range(8)}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.ray
def test_an_item_that_always_kills_its_worker_ends_the_run(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a piece of work ended its worker 4 times"):
        list(cluster.map(Fragile, (tmp_path, 99), list(range(8))))
