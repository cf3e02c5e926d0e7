"""A full disk: the step says so, what was committed stays, and with room again the lake becomes what it should be."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

OWN_MOUNTS = ["unshare", "--mount", "--map-root-user"]


def _needs_mounts(folder: Path) -> None:
    mounted = [*OWN_MOUNTS, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    if shutil.which("unshare") is None or subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("no small disk: this machine lets nobody mount one (unshare --mount --map-root-user)")


def test_with_room_again_the_lake_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    _needs_mounts(tmp_path)
    command = [sys.executable, "-m", "mm_assets_tests.torture.disk_full", str(tmp_path)]
    done = subprocess.run([*OWN_MOUNTS, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not any(found["damage"].values()), found["damage"]
    said = [sentence for sentences in found["said"].values() for sentence in sentences]
    assert {stage for stage, sentences in found["said"].items() if sentences} >= {"ingest", "score", "predict"}
    assert all("No space left on device" in sentence for sentence in said), said
