"""The workflow file of docs/examples/ci: its commands are run as a CI runs them, on a listing, which needs no Ray."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mm_assets.settings import known_variables
from mm_assets_tests.kit.project import Project

WORKFLOW = Path(__file__).parent.parent / "docs" / "examples" / "ci" / "mm_assets.yml"
INSTALL = "Install"


@pytest.fixture
def workflow() -> dict[str, Any]:
    return dict(yaml.safe_load(WORKFLOW.read_text()))


def run(workflow: dict[str, Any], project: Project, folder: Path) -> dict[str, int]:
    """Exit code of every step that ran: after a failure, only those that always do."""
    found: dict[str, int] = {}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **project.environment(), "PATH": path, "SELECT": "raw_images"}
    for step in workflow["jobs"]["materialize"]["steps"]:
        failed = any(found.values())
        if "run" not in step or step["name"] == INSTALL or (failed and step.get("if") != "always()"):
            continue
        done = subprocess.run(["bash", "-e", "-c", step["run"]], env=environment, cwd=folder, check=False)
        found[step["name"]] = done.returncode
    return found


def test_a_good_run_ends_with_the_artifact(workflow: dict[str, Any], tmp_path: Path, few_pictures: Path) -> None:
    project = Project(tmp_path / "lake", few_pictures, tmp_path / "home")
    found = run(workflow, project, tmp_path)
    assert set(found) == {"Refuse wrong settings", "Materialize", "Prove the history", "Tell what stands"}
    assert set(found.values()) == {0}
    (row,) = json.loads((tmp_path / "status.json").read_text())
    assert (row["asset"], row["data_version"]) == ("raw_images", project.data_versions()["raw_images"])


def test_a_failed_step_fails_the_job_and_the_artifact_is_there(
    workflow: dict[str, Any], tmp_path: Path, few_pictures: Path
) -> None:
    project = Project(tmp_path / "lake", few_pictures, tmp_path / "home")
    project.materialize("raw_images")
    (tmp_path / "empty").mkdir()
    project.source = tmp_path / "empty"
    found = run(workflow, project, tmp_path)
    assert found == {"Refuse wrong settings": 0, "Materialize": 1, "Prove the history": 0, "Tell what stands": 0}
    assert len(json.loads((tmp_path / "status.json").read_text())) == 1


def test_it_names_settings_that_there_are(workflow: dict[str, Any]) -> None:
    ours = {name for name in workflow["env"] if name.startswith("MM_")}
    assert ours <= set(known_variables())
