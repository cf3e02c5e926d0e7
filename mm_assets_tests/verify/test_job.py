"""A quiet lake has no disagreement; what is found can be read by a program."""

import json

import pyarrow as pa

from mm_assets.engines.lance_tables import LakeTables
from mm_assets.ingest.tables import IMAGES
from mm_assets_tests.verify.checking import check


def test_a_quiet_lake_holds(whole: LakeTables) -> None:
    found = check(whole, deep=True)
    assert found.disagreements == []
    looked_at = ("materializations", "examples", "predictions", "images hashed", "models")
    assert [found.looked_at[name] for name in looked_at] == [10, 16, 16, 16, 2]
    assert +found.named == {}


def test_an_empty_lake_holds(tables: LakeTables) -> None:
    assert check(tables, deep=True).disagreements == []


def test_the_report_is_json(whole: LakeTables) -> None:
    whole.open(IMAGES).add_columns([pa.field("mine", pa.int8())])
    said = json.loads(json.dumps(check(whole).as_json()))
    assert {item["kind"] for item in said["disagreements"]} == {"commit"}
    assert said["looked_at"]["predictions"] == 16
