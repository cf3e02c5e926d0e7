"""`make quick` starts no Ray: a test without its marker fails, whatever process it starts Ray in; dear files first."""

import subprocess
import sys
from typing import cast

import pytest

from mm_assets.engines.workers.cluster import Cluster
from mm_assets_tests.conftest import DEAREST_FIRST, HERE, pytest_collection_modifyitems

START_RAY = "import ray; ray.init(address='local', include_dashboard=False)"


def test_without_its_marker_a_test_cannot_use_a_cluster() -> None:
    with pytest.raises(AssertionError, match="give it the marker `ray`"):
        Cluster().cpus()


def test_without_its_marker_a_test_cannot_start_ray_in_another_process() -> None:
    found = subprocess.run([sys.executable, "-c", START_RAY], capture_output=True, text=True, check=False)
    assert found.returncode != 0
    assert "/dev/null" in found.stderr


class Collected:
    """A test as pytest collects it."""

    def __init__(self, path: str, *fixturenames: str) -> None:
        self.path, self.fixturenames = HERE / path, fixturenames
        self.markers: list[str] = []

    def add_marker(self, name: str) -> None:
        self.markers.append(name)


def test_fixtures_mark_the_tests_that_ask_for_them() -> None:
    items = [Collected("a.py", "tables", "cluster"), Collected("a.py", "bucket", "s3_server"), Collected("a.py")]
    pytest_collection_modifyitems(cast(list[pytest.Item], items))
    assert [item.markers for item in items] == [["ray"], ["s3"], []]


def test_the_dearest_files_come_first_and_are_there() -> None:
    items = [Collected("a.py"), Collected(DEAREST_FIRST[1]), Collected(DEAREST_FIRST[0]), Collected("b.py")]
    pytest_collection_modifyitems(cast(list[pytest.Item], items))
    assert [item.path for item in items] == [HERE / name for name in (*DEAREST_FIRST[:2], "a.py", "b.py")]
    assert [name for name in DEAREST_FIRST if not (HERE / name).is_file()] == []
