"""The code location: what it holds, what loading it costs, and how it refuses wrong settings."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.api import create_execution_plan

from mm_assets.catalog import table_of
from mm_assets.definitions import build
from mm_assets.settings import load_settings
from mm_assets_tests.kit.project import Project

ROOT = Path(__file__).parent.parent
GRAPH = {
    "raw_images": set(),
    "image_table": {"raw_images"},
    "scores/sharpness": {"image_table"},
    "scores/exposure": {"image_table"},
    "scores/entropy": {"image_table"},
    "scores/phash": {"image_table"},
    "scores/near_duplicates": {"scores/phash"},
    "base_model": set(),
    "sft_dataset": {
        "image_table",
        "scores/sharpness",
        "scores/exposure",
        "scores/entropy",
        "scores/near_duplicates",
        "base_model",
    },
    "llava_checkpoint": {"sft_dataset", "base_model"},
    "evaluation": {"llava_checkpoint"},
    "batch_predictions": {"evaluation", "image_table"},
    "serving_bundle": {"evaluation"},
}

GROUPS = ("ingest", "score", "curate", "base", "finetune", "evaluate", "predict", "serve")


def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in build(load_settings()).resolve_all_asset_specs()}


def test_the_graph_is_the_one_of_the_design() -> None:
    found = {name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in specs().items()}
    assert found == GRAPH


def test_every_asset_tells_what_it_is() -> None:
    for name, spec in specs().items():
        assert spec.description, name
        assert spec.code_version, name
        assert spec.owners, name
        assert spec.group_name in GROUPS, name
        assert table_of(name)


def test_every_check_says_what_it_wants_and_is_in_the_table() -> None:
    definitions = build(load_settings())
    graph = definitions.resolve_asset_graph()
    found = {(key.asset_key.to_user_string(), key.name): graph.get(key) for key in graph.asset_check_keys}
    lines = (ROOT / "docs" / "checks.md").read_text().splitlines()
    table = {tuple(line.split("`")[1:4:2]): line.split(" | ") for line in lines if line.startswith("| `")}
    everywhere = {key for key in found if key[1] == "lineage_verified"}
    assert {asset for asset, _ in everywhere} == set(GRAPH)
    assert all(found.pop(key).blocking for key in everywhere)
    assert "| every asset | `lineage_verified` |" in (ROOT / "docs" / "checks.md").read_text()
    one = {"scores/sharpness", "scores/exposure", "scores/entropy", "scores/phash"}
    assert {("scores/<scorer>" if asset in one else asset, name) for asset, name in found} == set(table)
    for (asset, name), node in found.items():
        cells = table["scores/<scorer>" if asset in one else asset, name]
        assert node.description, (asset, name)
        assert node.blocking == ("**" in cells[3]), (asset, name)
    assert ("scores/phash", "drift") not in found


def test_no_check_makes_anything_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: spec.code_version for name, spec in specs().items()}
    for name in ("MAX_PRE_FLIGHT_SHARE", "MIN_SCORE_COVERAGE", "MAX_DRIFT", "MIN_CLASS_SHARE"):
        monkeypatch.setenv(f"MM_CHECKS__{name}", "0.5")
    assert {name: spec.code_version for name, spec in specs().items()} == before


def test_a_setting_changes_the_code_version_of_who_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: spec.code_version for name, spec in specs().items()}
    monkeypatch.setenv("MM_CURATE__LIMITS", '{"entropy": {"min": 3}}')
    after = {name: spec.code_version for name, spec in specs().items()}
    assert {name for name in before if before[name] != after[name]} == {"sft_dataset"}
    monkeypatch.setenv("MM_PREDICT__MODEL", "production")
    last = {name: spec.code_version for name, spec in specs().items()}
    assert {name for name in after if after[name] != last[name]} == {"batch_predictions"}
    monkeypatch.setenv("MM_SERVE__LICENSE", "mit")
    served = {name: spec.code_version for name, spec in specs().items()}
    assert {name for name in last if last[name] != served[name]} == {"serving_bundle"}
    monkeypatch.setenv("MM_SERVE__UPLOAD_CHECKSUM", "md5")  # which decides on nothing that is kept
    assert {name: spec.code_version for name, spec in specs().items()} == served


def test_loading_the_definitions_imports_nothing_heavy() -> None:
    code = (
        "import sys, mm_assets.definitions as d; d.defs(); heavy = 'torch ray lance vllm transformers peft trl';"
        "print(*sorted(set(heavy.split()) & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == ""


def test_importing_the_definitions_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_LAEK", "x")
    subprocess.run([sys.executable, "-c", "import mm_assets.definitions"], check=True, cwd=ROOT)


@pytest.mark.parametrize("command", [("dagster", "definitions", "validate"), ("dg", "check", "defs")])
def test_the_project_loads_from_its_root(command: tuple[str, ...], tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name(command[0]))
    environment = {"PATH": str(Path(sys.executable).parent), "HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path)}
    found = subprocess.run(
        [program, *command[1:]], cwd=ROOT, capture_output=True, text=True, env=environment, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_wrong_setting_ends_the_command_with_its_sentence(tmp_path: Path) -> None:
    project = Project(tmp_path / "lake", tmp_path / "nowhere", tmp_path / "home")
    found = project.command("asset", "materialize", "--select", "raw_images", "-m", "mm_assets.definitions")
    assert found.returncode == 1
    assert f"source (MM_SOURCE): there is no folder {tmp_path / 'nowhere'}" in found.stderr


def test_the_jobs_cover_what_their_names_say() -> None:
    definitions = build(load_settings())
    keys = {
        name: {key.to_user_string() for key in definitions.resolve_job_def(name).asset_layer.executable_asset_keys}
        for name in ("whole_graph", "refresh_without_training", "train_and_evaluate")
    }
    assert keys["whole_graph"] == set(GRAPH)
    assert keys["train_and_evaluate"] == {"llava_checkpoint", "evaluation"}
    assert keys["refresh_without_training"] == set(GRAPH) - keys["train_and_evaluate"]


def test_in_one_run_the_scores_come_before_the_predictions() -> None:
    job = build(load_settings()).resolve_job_def("refresh_without_training")
    tags = {step.key: step.tags or {} for step in create_execution_plan(job).step_dict.values()}
    assert {name for name, of_step in tags.items() if "dagster/priority" in of_step} == {"batch_predictions"}

    made = []

    @dg.asset(op_tags=tags["batch_predictions"])
    def first_by_name() -> None:
        made.append("predictions")

    @dg.asset
    def second_by_name() -> None:
        made.append("scores")

    dg.materialize([first_by_name, second_by_name])
    assert made == ["scores", "predictions"]


def test_the_launchpad_suggests_values_that_work_and_says_what_they_mean() -> None:
    definitions = build(load_settings())
    for name in ("whole_graph", "train_and_evaluate"):
        job = definitions.resolve_job_def(name)
        assert job.run_config == {"ops": {"llava_checkpoint": {"config": {"force": False}}}}
        assert dg.validate_run_config(job, job.run_config)
        schema = job.nodes_in_topological_order
        node = next(node for node in schema if node.name == "llava_checkpoint")
        described = node.definition.config_schema.as_field().config_type.fields["force"]  # type: ignore[union-attr]
        assert "Train again" in (described.description or "")
