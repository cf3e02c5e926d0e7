"""From a bucket, to a bucket: the same graph gives the same cells as from a folder, to a folder."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from mm_assets.demo.pictures import draw_area
from mm_assets.engines.store.s3 import client
from mm_assets_tests.kit.project import QUICK, TABLES, Project, failure_of
from mm_assets_tests.kit.stores import CREDENTIALS, Bucket, Proxy

pytestmark = [pytest.mark.s3, pytest.mark.ray]

# What differs between two runs, whatever they read: when and by which run, and the store's own name for a content.
ITS_OWN = {
    "objects": {"etag"},
    "images": {"etag"},
    "sft": set(),
    "models": {"run_id", "created_at", "inputs", "recipe", "recipe_digest", "metrics"},
    "evaluations": {"id", "evaluation_id", "at"},
    "predictions": set(),
    "bundles": {"run_id", "created_at"},
}


def cells(project: Project, table: str) -> list[dict[str, Any]]:
    """All rows without what is a run's own, in the order of their key; images as bytes."""
    ds = project.tables.open(table)
    rows = ds.scanner(blob_handling="all_binary").to_table()
    return sorted(rows.drop_columns(sorted(ITS_OWN[table])).to_pylist(), key=lambda row: json.dumps(row, default=str))


def differing(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> Iterator[str]:
    if len(one) != len(two):
        yield f"{len(one)} rows and {len(two)}"
    for a, b in zip(one, two, strict=False):
        yield from (f"{name}: {a[name]!r:.80} and {b[name]!r:.80}" for name in a if a[name] != b[name])


def test_buckets_give_the_same_cells_as_folders(undisturbed: Project, bucket: Bucket, tmp_path: Path) -> None:
    source = bucket.put_folder(Path(undisturbed.source), "hotel/photos")
    project = Project(f"{bucket.uri}/a lake", source, tmp_path / "home", {**QUICK, **bucket.environment()}, bucket.s3)
    project.materialize()
    for table in TABLES:
        assert list(differing(cells(undisturbed, table), cells(project, table)))[:5] == [], table
    # Nothing of it lies in a folder, and nothing that was only needed meanwhile is left.
    keys = [
        item["Key"]
        for item in client(bucket.s3).list_objects_v2(Bucket=bucket.name, Prefix="a lake/models/")["Contents"]
    ]
    digests = {row["digest"] for row in project.tables.open("models").to_table(columns=["digest"]).to_pylist()}
    assert {key.split("/")[2] for key in keys if not key.endswith("/")} == digests
    assert not Path("s3:").exists()
    # Secrets are in no event, and in no table.
    history = b"".join(path.read_bytes() for path in project.home.rglob("*") if path.is_file())
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode() not in history

    versions = project.table_versions()
    project.materialize()
    assert project.table_versions() == versions
    assert all(record.reused for record in project.newest().values())

    status = project.command("status", "--json", module="mm-assets")
    assert status.returncode == 0, status.stderr
    assert {item["asset"]: item["data_version"] for item in json.loads(status.stdout)} == project.data_versions()


def test_a_store_without_conditional_puts_is_refused_unless_one_writes(
    few_pictures: Path, bucket: Bucket, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.ignores.add("if-none-match")
    env = {"MM_S3__ENDPOINT": str(proxy.s3.endpoint), "MM_S3__ADDRESSING": "path"}
    project = Project(f"{bucket.uri}/lake", few_pictures, tmp_path / "home", env, proxy.s3)
    sentence = failure_of(project.materialize("raw_images", fails=True))
    assert "does not keep conditional PUTs" in sentence
    assert client(bucket.s3).list_objects_v2(Bucket=bucket.name)["KeyCount"] == 0
    project.env["MM_SINGLE_WRITER"] = "true"
    project.materialize("raw_images")
    assert project.tables.open("objects").count_rows() == 25


# Labels as people have them: with slashes, spaces and more.
LABELS = [
    "Terrace/Patio", "Pool / Spa", "Bed & Bath", "Lobby", "Living room", "Kids' club", 'The "Blue" room', "Café",
    "Meeting room (large)", "Gym", "Garden|Court", "50% off", "Sea view #1", "Kitchen/Dining", "a {label} b", "Sauna",
    "Bar/Lounge", "Fitness center", "露台", "Golf, tennis", "Roof\\top", "Beach", "Parking <free>", "Front desk",
    "Hall*way", "Play_ground",
]  # fmt: skip


def listed(bucket: Bucket, per_label: int) -> str:
    """Pictures of 26 kinds in a bucket, and a Parquet manifest beside them that names their labels."""
    import numpy as np

    rng, objects, rows = np.random.default_rng(3), {}, []
    kinds = ("beach", "gym", "pool", "lobby", "bedroom", "bathroom", "restaurant", "garden")
    for number, label in enumerate(LABELS):
        for index in range(per_label):
            data = io.BytesIO()
            draw_area(kinds[number % len(kinds)], rng).rotate(90 * (number // len(kinds))).save(data, "PNG")
            key = f"img/{number:02d} {index}.png"
            objects[f"set/{key}"] = data.getvalue()
            rows.append({"uri": key, "label": label, "image_id": f"{number}-{index}", "caption": f"{label}, seen"})
    bucket.put_all(objects)
    sink = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pylist(rows), sink)
    return bucket.put("set/all rooms.parquet", sink.getvalue())


@pytest.mark.usefixtures("cluster", "workers_in_process")
def test_26_labels_of_any_words_from_a_parquet_manifest(bucket: Bucket, tmp_path: Path) -> None:
    env = {
        **bucket.environment(),
        "MM_TRAIN__EPOCHS": "1",
        "MM_CURATE__LIMITS": '{"sharpness": {"min": 0}}',
        "MM_CURATE__MAX_TOKENS": "1000",
        "MM_CURATE__TASKS": json.dumps(
            [
                {"task": "label", "prompt": "Fill in the blank: {}. One of: {labels}.", "answer": "a {label}."},
                {"task": "caption", "prompt": "Describe it.", "answer": "{caption}", "weight": 0.5},
            ]
        ),
    }
    project = Project(tmp_path / "lake", listed(bucket, 8), tmp_path / "home", env)
    project.materialize()
    newest = project.newest()
    assert newest["sft_dataset"].metadata["labels"] == sorted(LABELS)
    assert newest["image_table"].metadata["rows_failed"] == 0
    examples = project.tables.open("sft").to_table(filter="left_out is null and task = 'label'").to_pylist()
    assert {row["label"] for row in examples} == set(LABELS)
    for row in examples:
        asked, answered = (message["content"][-1]["text"] for message in row["messages"])
        assert asked == f"Fill in the blank: {{}}. One of: {', '.join(sorted(LABELS))}."
        assert answered == f"a {row['label']}."
    captions = project.tables.open("sft").to_table(filter="left_out is null and task = 'caption'").to_pylist()
    assert {row["messages"][1]["content"][0]["text"] for row in captions} <= {f"{label}, seen" for label in LABELS}
    predictions = project.tables.open("predictions").to_table().to_pylist()
    assert len(predictions) == len(LABELS) * 8
    assert all(row["error"] is None and row["answer"] == f"a {row['label']}." for row in predictions)
    assert {row["label"] for row in predictions} <= set(LABELS)
    assert set(newest["evaluation"].metadata["per_class"]) <= set(LABELS)
