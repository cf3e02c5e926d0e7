"""What all tests share: a clean environment, small folders of pictures, and one lake that the whole graph made."""

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from filelock import FileLock

from mm_assets.demo.pictures import draw_folder
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.workers.cluster import Cluster
from mm_assets.previews import sheets
from mm_assets_tests.kit.in_process import here, nothing_drawn, workers_in_process  # noqa: F401  (fixtures)
from mm_assets_tests.kit.lake_rows import calls_of
from mm_assets_tests.kit.pictures import draw_few, some_of
from mm_assets_tests.kit.project import QUICK, Project
from mm_assets_tests.kit.stores import Bucket, bucket, proxy, s3_server  # noqa: F401  (fixtures)

# Nothing here may reach for the hub.
os.environ["HF_HUB_OFFLINE"] = "1"
# Tests run side by side, and the models are tiny: more threads would wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"

Made = TypeVar("Made")
HERE = Path(__file__).parent

# Files that take longest begin first, so that the workers of pytest-xdist end together; those that make what others
# only read (`made_once`) come before them.
DEAREST_FIRST = (
    "graph/test_embedded_default.py",
    "graph/test_real_photos.py",
    "graph/test_s3.py",
    "torture/test_kills.py",
    "graph/test_ray_cluster.py",
    "browser/test_a_day.py",
    "graph/test_vllm.py",
    "engines/answering/test_vllm.py",
    "browser/test_ui.py",
    "graph/test_refresh.py",
    "stages/serve/test_vllm.py",
    "engines/training/test_run.py",
    "torture/test_store_faults.py",
    "torture/test_races.py",
    "graph/test_pins_in_all_ways.py",
    "bench/test_smoke.py",
    "graph/test_pins.py",
    "graph/test_new_asset.py",
    "torture/test_machine.py",
    "test_ci_workflow.py",
    "stages/curate/test_checks.py",
)
# Whoever asks for one of these fixtures, or for one that is made with it, starts what the marker says.
STARTED_BY = {"cluster": "ray", "nodes": "ray", "s3_server": "s3", "browser": "browser"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what their fixtures start (what a test starts by itself, its file says), and order the files."""
    for item in items:
        for name in set(getattr(item, "fixturenames", ())) & STARTED_BY.keys():
            item.add_marker(STARTED_BY[name])
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    name = item.path.relative_to(HERE).as_posix()
    return DEAREST_FIRST.index(name) if name in DEAREST_FIRST else len(DEAREST_FIRST)


@pytest.fixture(autouse=True)
def _without_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test without the marker `ray` can start none, neither here nor in a process of its own."""
    if request.node.get_closest_marker("ray") is None:
        monkeypatch.setattr(Cluster, "connect", _refuse_ray)
        monkeypatch.setenv("RAY_TMPDIR", os.devnull)  # where a session would have its folder


def _refuse_ray(_: Cluster) -> None:
    raise AssertionError("this test uses a Ray cluster: give it the marker `ray`")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def tables(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.s3)])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """A lake in a folder, and one in a bucket: nothing above knows the difference."""
    if request.param == "folder":
        return Lake(str(tmp_path / "lake"))
    found: Bucket = request.getfixturevalue("bucket")
    return Lake(f"{found.uri}/a/lake", found.s3)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The arguments of every contact sheet that is drawn, its sections first."""
    return calls_of(monkeypatch, sheets, "draw")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_models(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Models of lakes on S3 are kept here, not in the home of whoever runs the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def cluster(_cache_of_models: None) -> Iterator[Cluster]:
    """One embedded Ray cluster for all tests that run in this process (commands start their own, as a user's do)."""
    started = Cluster()
    started.connect()
    yield started
    started.shutdown()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real photos and malformed files, where the machine has one."""
    if "TEST_DATA" not in os.environ:
        pytest.skip("TEST_DATA names no folder of real photos and malformed files")
    return Path(os.environ["TEST_DATA"])


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """What `make` gives for its folder: made by the first of pytest-xdist's workers that asks, read by the others.

    https://pytest-xdist.readthedocs.io/en/stable/how-to.html#making-session-scoped-fixtures-execute-only-once
    """
    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"{name}.pickle"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            made.write_bytes(pickle.dumps(make(tmp_path_factory.mktemp(name))))
    found: Made = pickle.loads(made.read_bytes())
    return found


@pytest.fixture(scope="session")
def drawn_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures of the embedded default, all of them."""
    return made_once(tmp_path_factory, "source", lambda folder: draw_folder(folder / "drawn"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, drawn_source: Path, cluster: Cluster) -> Project:
    """The whole graph, materialized once with the `local` profile: read it, or work on a `copy`."""
    return made_once(tmp_path_factory, "finished", lambda folder: _materialized(folder, drawn_source, {}))


@pytest.fixture(scope="session")
def some_pictures(tmp_path_factory: pytest.TempPathFactory, drawn_source: Path) -> Path:
    """30 of the drawn pictures of every label."""
    return made_once(tmp_path_factory, "some", lambda folder: some_of(drawn_source, folder))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, some_pictures: Path, cluster: Cluster) -> Project:
    """The whole graph over some pictures, from a folder to a folder, trained for one epoch: what others must equal."""
    return made_once(tmp_path_factory, "undisturbed", lambda folder: _materialized(folder, some_pictures, QUICK))


def _materialized(folder: Path, source: Path, env: dict[str, str]) -> Project:
    project = Project(folder / "lake", source, folder / "home", dict(env))
    project.materialize()
    return project


@pytest.fixture
def copy(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished lake and of its Dagster history."""
    return finished.copied(tmp_path)


@pytest.fixture
def modest(undisturbed: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the undisturbed lake and of its history: for tests that train, where it matters not what is learned."""
    return undisturbed.copied(tmp_path_factory.mktemp("modest"))


@pytest.fixture
def few_pictures(tmp_path: Path) -> Path:
    """See `draw_few`."""
    return draw_few(tmp_path / "photos")
