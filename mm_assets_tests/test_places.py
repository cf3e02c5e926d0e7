"""Where the source, the lake and the cluster may be; what is none of these is refused at load, by name."""

import re
from pathlib import Path

import pytest

from mm_assets.settings import SettingsError, load_settings


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    """The sentence of the refusal; "" where there is none."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    try:
        load_settings()
    except SettingsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("source", ["s3://photos", "s3://photos/hotels/2024/", "s3://photos/list.parquet"])
def test_buckets_and_manifests_in_buckets_are_sources(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    assert loaded(monkeypatch, MM_SOURCE=source, MM_LAKE="s3://lake/hotels") == ""
    assert load_settings().source == source.rstrip("/")


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl", "list.ndjson", "LIST.PARQUET"])
def test_a_manifest_is_a_source_and_may_lie_beside_the_lake(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).touch()
    assert loaded(monkeypatch, MM_SOURCE=str(tmp_path / name), MM_LAKE=str(tmp_path / "lake")) == ""


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("MM_SOURCE", "https://example.org/a.csv", r"source \(MM_SOURCE\): .*http\(s\) are not read yet"),
        ("MM_SOURCE", "gs://photos", r"source \(MM_SOURCE\): gs://photos cannot be read: give a folder, a manifest"),
        ("MM_SOURCE", "s3://", r"source \(MM_SOURCE\): s3:// cannot be read"),
        ("MM_SOURCE", "nowhere.csv", r"source \(MM_SOURCE\): there is no folder nowhere.csv: .*\.csv, \.jsonl"),
        ("MM_LAKE", "gs://lake", r"lake \(MM_LAKE\): gs://lake cannot hold a lake: give a folder, or s3://"),
        ("MM_S3__ENDPOINT", "https://key:secret@minio:9000", r"s3.endpoint \(MM_S3__ENDPOINT\): .*pattern"),
        ("MM_LAKE", "s3:/lake/rooms", r"lake \(MM_LAKE\): s3:/lake/rooms cannot hold a lake"),
        ("MM_PREDICT__RESOURCES__GPUS", "1.5", "gpus 1.5: a worker takes a part of one GPU, or whole ones"),
        ("MM_TRAIN__RESOURCES__OTHER", '{"CPU": 2}', "other: CPU has a setting of its own: cpus"),
        ("MM_TRAIN__RESOURCES__OTHER", '{"tape": 0}', r"train.resources.other.tape"),
        ("MM_S3__ENDPOINT", "minio:9000", r"s3.endpoint \(MM_S3__ENDPOINT\): .*pattern"),
        ("MM_S3__ADDRESSING", "dns", r"s3.addressing \(MM_S3__ADDRESSING\): .*'auto', 'path' or 'virtual'"),
        ("MM_RAY_ADDRESS", "ray://head:10001", r"ray_address \(MM_RAY_ADDRESS\): .*give host:port .*Ray Client"),
        ("MM_RAY_ADDRESS", "head", r"ray_address \(MM_RAY_ADDRESS\): head is no address"),
        ("MM_TRAIN__RESOURCES__GPUS", "-1", r"train.resources.gpus \(MM_TRAIN__RESOURCES__GPUS\)"),
        ("MM_SCORE__OWN", '["watermark"]', r"score.own.0 \(MM_SCORE__OWN__0\): .*pattern"),
    ],
)
def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str) -> None:
    found = loaded(monkeypatch, **{variable: value})
    assert re.search(says, found), found


def test_a_lake_inside_a_bucket_that_is_the_source_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "lake lies inside source" in loaded(
        monkeypatch, MM_SOURCE="s3://photos/photos", MM_LAKE="s3://photos/photos/lake"
    )


def test_a_lake_beside_a_prefix_of_the_same_beginning_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, MM_SOURCE="s3://photos/photos", MM_LAKE="s3://photos/photos-lake") == ""


@pytest.mark.parametrize("address", ["10.0.0.5:6379", "head.ray.svc:6379", "auto", "[::1]:6379"])
def test_addresses_of_clusters(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    assert loaded(monkeypatch, MM_RAY_ADDRESS=address) == ""


def test_null_in_a_variable_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, MM_S3__REGION="null", MM_PREDICT__PROMPT="null") == ""
    assert (load_settings().s3.region, load_settings().predict.prompt) == (None, None)
