"""Every measurement runs at its smallest size: what is not run, breaks unseen."""

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.lab import measure

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
# Scripts that measure nothing by themselves.
SHARED = {"__init__", "compare", "report"}
Smoke = Callable[..., dict[str, Any]]


@pytest.fixture
def smoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Smoke:
    """Runs a measurement at its smallest size; gives the JSON that it writes."""

    def run(name: str, *arguments: str) -> dict[str, Any]:
        path = tmp_path / "figures.json"
        module = importlib.import_module(f"bench.{name}")
        module.main(["--smoke", "--scratch", str(tmp_path), "--json", str(path), *arguments])
        assert "written" in capsys.readouterr().out
        figures: dict[str, Any] = json.loads(path.read_text())
        assert figures["machine"]["cpus"] >= 1
        return figures

    return run


def test_growth(smoke: Smoke) -> None:
    figures = smoke("growth")
    assert {row["images"] for row in figures["growth"]} == {40, 80}
    assert {row["rows_computed"] for row in figures["growth"]} == {8}
    assert [row["rows_computed"] for row in figures["append"]] == [1] * len(figures["append"])


def test_memory(smoke: Smoke) -> None:
    assert {row["stage"] for row in smoke("memory")["peaks"]} == {"listing", "ingest", "scores"}


def test_history(smoke: Smoke) -> None:
    figures = smoke("history")
    assert all(row["found"] for row in figures["trace"])
    assert figures["verify"][0]["disagreements"] == 0


def test_point_reads(smoke: Smoke) -> None:
    pytest.importorskip("webdataset")
    assert len(smoke("point_reads")["reads"]) == 10


@pytest.mark.ray
def test_columns(smoke: Smoke, cluster: object) -> None:
    pytest.importorskip("lance_ray")
    figures = smoke("columns")
    assert (len(figures["storage_only"]), len(figures["with_scorer"])) == (6, 7)


@pytest.mark.ray
def test_ingest(smoke: Smoke, cluster: object) -> None:
    (rows,) = smoke("ingest")["ingest"].values()
    assert [row["images"] for row in rows] == [24, 24, 24, 24, 2]


def test_noop(smoke: Smoke) -> None:
    (row,) = smoke("noop")["noop"]
    assert row["seconds_min"] > 0
    assert row["history_reads"] > 0
    assert "torch" not in row["imported"]


@pytest.mark.vllm
@pytest.mark.ray
def test_predictions(smoke: Smoke) -> None:
    pytest.importorskip("vllm")
    assert len(smoke("gpu_predict")["ways"]) == 4


def test_every_measurement_has_a_smoke_run() -> None:
    measurements = {path.stem for path in (ROOT / "bench").glob("*.py")} - SHARED
    assert measurements == set(re.findall(r'smoke\("(\w+)"', Path(__file__).read_text()))


def test_the_commands_of_make_exist() -> None:
    named = re.findall(
        r"python -m bench\.(\w+)", (ROOT / "Makefile").read_text() + (ROOT / "bench/README.md").read_text()
    )
    assert named
    assert {name for name in named if not (ROOT / "bench" / f"{name}.py").exists()} == {"NAME"} & set(named)


def test_a_smoke_run_leaves_the_figures_alone() -> None:
    options = measure.options_of(measure.parser(None, images=5), "columns", ["--smoke"], images=1)
    assert (options.images, options.json) == (1, None)
    assert measure.options_of(measure.parser(None, images=5), "columns", []).json == measure.RESULTS / "columns.json"
