"""What `make` does around the commands, and what pip may install without the constraints."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent


def home_of(environment: dict[str, str]) -> str:
    """The DAGSTER_HOME that a command of the Makefile sees."""
    own = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    rule = "show: ; @echo $$DAGSTER_HOME"
    command = ["make", "--no-print-directory", "--eval", rule, "show"]
    return subprocess.run(
        command, env={**own, **environment}, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_home_that_is_set_is_kept(tmp_path: Path) -> None:
    assert home_of({"DAGSTER_HOME": str(tmp_path)}) == str(tmp_path)
    assert home_of({}) == str(ROOT)


def pins() -> dict[str, Version]:
    """The versions of constraints.txt."""
    lines = (line.partition(";")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def requirements() -> list[Requirement]:
    """Everything that pip may be asked to install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    return [Requirement(line) for line in [*project["dependencies"], *extras]]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_a_dependency_is_what_was_tested_or_a_newer_patch_of_it(requirement: Requirement) -> None:
    tested = pins()[canonicalize_name(requirement.name)]
    major, minor, patch = (*tested.release, 0, 0)[:3]
    assert tested in requirement.specifier
    assert f"{major}.{minor}.{patch + 1}" in requirement.specifier
    assert f"{major}.{minor + 1}.0" not in requirement.specifier
    assert f"{major + 1}.0.0" not in requirement.specifier
