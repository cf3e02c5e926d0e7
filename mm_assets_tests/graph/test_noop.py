"""A step with nothing to do costs nothing: nothing heavy is imported, no Ray is started, no picture drawn."""

import os
import subprocess
import sys

import pytest

from mm_assets_tests.kit.project import Project

pytestmark = pytest.mark.ray

HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "matplotlib", "vllm")
SCRIPT = f"""
import sys
from dagster import DagsterInstance
from mm_assets.definitions import build
from mm_assets.settings import load_settings
job = build(load_settings()).resolve_implicit_global_asset_job_def()
with DagsterInstance.get() as instance:
    assert job.execute_in_process(instance=instance).success
import ray
assert not ray.is_initialized()
print("IMPORTED", *(name for name in {HEAVY} if name in sys.modules))
"""


def test_a_graph_with_nothing_to_do_imports_nothing_heavy(modest: Project) -> None:
    versions = modest.table_versions()
    environment = {**os.environ, **modest.environment()}
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=modest.home, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr[-3000:]
    assert said.stdout.splitlines()[-1].split() == ["IMPORTED"]
    assert modest.table_versions() == versions
    assert all(record.reused for record in modest.newest().values())
