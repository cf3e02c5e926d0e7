"""The files of bundles against their rows."""

import shutil
from pathlib import Path

import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import bundle_size
from mm_assets_tests.kit.production import bundled, judged
from mm_assets_tests.kit.verifying import check, lines


@pytest.fixture(scope="session")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two bundles of one model."""
    tables = Lake(str(tmp_path_factory.mktemp("packed") / "lake"))
    judged(tables)
    bundled(tables, mode="rolling_batch")
    bundled(tables)
    return tables


@pytest.fixture
def packed(_packed: Lake, tmp_path: Path) -> Lake:
    """A copy that a test can spoil."""
    shutil.copytree(_packed.root, tmp_path / "packed")
    return Lake(str(tmp_path / "packed"))


def places(tables: Lake) -> tuple[Path, Path]:
    """The file of the older bundle, and of the newest."""
    rows = sorted(tables.open("bundles").to_table().to_pylist(), key=lambda row: row["created_at"])
    older, newest = (Path(tables.root, row["uri"]) for row in rows)
    return older, newest


def test_what_is_whole_is_no_disagreement(packed: Lake) -> None:
    report = check(packed, deep=True)
    assert report.disagreements == []
    assert (report.looked_at["bundles"], report.looked_at["bundles hashed"]) == (2, 2)


def test_the_file_of_the_newest_bundle_is_missed(packed: Lake) -> None:
    _, newest = places(packed)
    shutil.rmtree(newest.parent)
    assert lines(packed) == [f"bundle: bundles/{newest.parent.name}/model.tar.gz: its file is gone"]


def test_the_file_of_an_older_bundle_may_be_deleted(packed: Lake) -> None:
    older, _ = places(packed)
    shutil.rmtree(older.parent)
    report = check(packed)
    assert report.disagreements == []
    assert report.expected_leftovers["older bundles whose file was deleted"] == 1


def test_a_file_that_was_cut_has_another_size(packed: Lake) -> None:
    older, _ = places(packed)
    size = older.stat().st_size
    older.write_bytes(older.read_bytes()[:-1])
    assert lines(packed) == [
        f"bundle: bundles/{older.parent.name}/model.tar.gz: it has {size - 1:,} bytes instead of {size:,}"
    ]


def test_bytes_that_were_changed_are_found_by_reading_them(packed: Lake) -> None:
    _, newest = places(packed)
    data = bytearray(newest.read_bytes())
    data[1000] ^= 1
    newest.write_bytes(data)
    assert lines(packed) == []
    assert lines(packed, deep=True) == [
        f"bundle: bundles/{newest.parent.name}/model.tar.gz: its bytes do not have its SHA-256"
    ]


def test_a_model_that_nobody_registered(packed: Lake) -> None:
    packed.open("bundles").update({"model_digest": "'0123456789abcdef'"}, where="true")
    assert "bundle: bundles: names the model 0123456789abcdef, which is not in the registry" in lines(packed)


def test_a_row_that_is_gone_is_missed(packed: Lake) -> None:
    (row,) = packed.open("bundles").to_table(limit=1).to_pylist()
    packed.open("bundles").delete("true")
    assert bundle_size(packed, row["uri"]) == row["num_bytes"]
    assert any("names the bundle" in line and "which has no row" in line for line in lines(packed))
