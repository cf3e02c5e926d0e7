"""`mm-assets status` on a real lake."""

import json
from pathlib import Path

import pytest

from mm_assets_tests.kit.project import Project


def test_an_empty_lake_is_said_to_be_empty(tmp_path: Path) -> None:
    project = Project(tmp_path / "lake", "drawn", tmp_path / "home")
    found = project.command("status", module="mm-assets")
    assert (found.returncode, found.stdout) == (1, "")
    assert "nothing was materialized" in found.stderr


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    project = Project(tmp_path / "lake", "drawn", tmp_path / "home", {"MM_TRAIN__EPOCHS": "-3"})
    found = project.command("status", module="mm-assets")
    assert found.returncode == 2
    assert found.stderr.startswith("mm-assets: train.epochs (MM_TRAIN__EPOCHS)")
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.ray
def test_status_names_every_asset_at_its_version(finished: Project) -> None:
    found = finished.command("status", "--json", module="mm-assets")
    rows = {row["asset"]: row for row in json.loads(found.stdout)}
    assert {asset: row["data_version"] for asset, row in rows.items()} == finished.data_versions()
    assert len(rows) == 13
    for row in rows.values():
        assert set(row) == {"asset", "data_version", "table", "version", "rows", "run_id", "at", "reused"}
        assert row["data_version"].startswith(f"{row['table']}:")
        assert row["data_version"].endswith(f"@v{row['version']}")
    plain = finished.command("status", module="mm-assets").stdout
    assert all(row["data_version"] in plain for row in rows.values())
    assert "promoted: better by" in plain
