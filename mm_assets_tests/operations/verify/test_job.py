"""A quiet lake has no disagreement; what is found can be read by a program."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError

from mm_assets.cli import main
from mm_assets.engines.lake.tables import Lake
from mm_assets.operations.verify.report import Report
from mm_assets.stages.ingest.tables import IMAGES
from mm_assets_tests.kit.verifying import check


def test_a_quiet_lake_holds(whole: Lake) -> None:
    report = check(whole, deep=True)
    assert report.disagreements == []
    looked_at = ("materializations", "examples", "predictions", "images hashed", "models")
    assert [report.looked_at[name] for name in looked_at] == [10, 16, 16, 16, 2]
    assert +report.expected_leftovers == {}


def test_an_empty_lake_holds(tables: Lake) -> None:
    assert check(tables, deep=True).disagreements == []


def test_the_report_is_json(whole: Lake) -> None:
    whole.open(IMAGES).add_columns([pa.field("mine", pa.int8())])
    values = json.loads(json.dumps(check(whole).as_json()))
    assert {item["kind"] for item in values["disagreements"]} == {"commit"}
    assert values["looked_at"]["predictions"] == 16


@pytest.mark.parametrize("error", [OSError(), ClientError({"Error": {"Code": "503"}}, "Get"), ValueError("so\nlong")])
def test_what_cannot_be_read_is_one_line(error: Exception) -> None:
    report = Report()
    with report.reading("here"):
        raise error
    (line,) = map(str, report.disagreements)
    assert line.startswith("here: cannot be read: ")
    assert "\n" not in line


def test_a_home_of_dagster_that_is_no_whole_path(
    whole: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "home")
    monkeypatch.setenv("MM_LAKE", whole.root)
    assert main(["verify"]) == 2
    assert f"DAGSTER_HOME is home: Dagster wants the whole path, {Path('home').absolute()}" in capsys.readouterr().err
