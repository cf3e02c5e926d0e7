"""The bundle of the promoted model: what is in it, when it is packed, where it goes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from mm_assets.chat import user_message
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import bundle_sha256, bundle_size, files_digest, local_bundle, local_folder
from mm_assets.engines.store.s3 import client
from mm_assets.history.history import History
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.records import Record
from mm_assets.settings import ServeSettings
from mm_assets.stages.serve.archive import pack, unpack
from mm_assets.stages.serve.bundles import find
from mm_assets.stages.serve.job import served_files
from mm_assets.stages.serve.previews import previews
from mm_assets.stages.serve.properties import as_text, properties_of
from mm_assets_tests.kit.lake_rows import materialized
from mm_assets_tests.kit.production import bundled, judged
from mm_assets_tests.kit.steps import nothing_new
from mm_assets_tests.kit.stores import Bucket, Fault, Proxy


def rows(tables: Lake) -> list[dict[str, Any]]:
    return list(tables.open("bundles").to_table().to_pylist())


def unpacked(tables: Lake, record: Record, folder: Path) -> Path:
    said = record.metadata
    with local_bundle(tables, said["uri"], said["sha256"]) as path:
        unpack(path, folder)
    return folder


@pytest.fixture
def packings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is packed, in its order."""
    found: list[str] = []

    def counted(target: Path, *rest: Any) -> Any:
        found.append(target.name)
        return pack(target, *rest)

    monkeypatch.setattr("mm_assets.stages.serve.job.pack", counted)
    return found


def test_with_nothing_promoted_there_is_no_bundle_and_no_failure(tables: Lake) -> None:
    judged(tables, promoted=False)
    record = bundled(tables)
    assert (record.metadata["rows"], rows(tables)) == (0, [])
    assert record.metadata["decision"] == "no model was promoted yet: there is nothing to pack"
    assert previews(materialized(tables, record)) == {}
    assert nothing_new(bundled(tables), record)
    judged(tables, promoted=False, seed=2)
    assert nothing_new(bundled(tables), record)
    assert not Path(tables.root, "bundles").exists()


def test_the_bundle_has_the_model_its_card_and_its_properties(anywhere: Lake, tmp_path: Path) -> None:
    digest = judged(anywhere).metadata["production"]
    record = bundled(anywhere)
    said = record.metadata
    assert (said["rows"], said["rows_computed"], said["digest"]) == (1, 1, digest)
    assert said["uri"] == f"bundles/{digest}-{said['bundle']}/model.tar.gz"
    assert bundle_size(anywhere, said["uri"]) == said["num_bytes"]
    assert bundle_sha256(anywhere, said["uri"]) == said["sha256"]
    folder = unpacked(anywhere, record, tmp_path / "out")
    beside = {"README.md", "serving.properties", "request.json"}
    assert {path.name for path in folder.iterdir()} > beside
    text = (folder / "serving.properties").read_text()
    assert text == as_text(properties_of(ServeSettings(), "float32"))
    request = json.loads((folder / "request.json").read_text())
    assert request["messages"][0]["content"][1]["text"] == "what is it?"
    (row,) = rows(anywhere)
    assert (row["id"], row["model_digest"], row["sha256"]) == (said["bundle"], digest, said["sha256"])
    assert json.loads(row["properties"]) == properties_of(ServeSettings(), "float32")
    assert row["card"] == (folder / "README.md").read_text()
    assert row["uploaded_to"] is None
    for name in beside:
        (folder / name).unlink()
    assert files_digest(folder)[0] == digest  # this model has no adapter: its files are all that is left


def test_what_serving_does_not_need_is_left_out(tmp_path: Path) -> None:
    kept = ["config.json", "model-00001-of-00002.safetensors", "additional_chat_templates/tool.jinja", "adapter.txt"]
    gone = [
        "adapter/adapter_model.safetensors",
        "checkpoint-12/model.safetensors",
        "training_args.bin",
        "rng_state.pth",
    ]
    for name in kept + gone:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert set(served_files(tmp_path)) == set(kept)


def test_the_card_tells_lineage_metrics_and_what_to_ask(tables: Lake) -> None:
    evaluation = judged(tables)
    said = bundled(tables).metadata
    card = ModelCard(rows(tables)[0]["card"])
    assert (card.data.license, card.data.library_name, card.data.pipeline_tag) == (
        "apache-2.0",
        "transformers",
        "image-text-to-text",
    )
    assert card.data.base_model == "mm_assets.demo.tiny_llava:build"
    front = card.data.to_dict()
    assert (front["model_digest"], front["min_vllm_version"]) == (said["digest"], "0.32.0")
    versions = {record.asset: record.data_version for record in newest(tables) if record.asset != "serving_bundle"}
    assert set(versions) == {
        *("image_table", "scores/sharpness", "scores/exposure", "scores/entropy", "scores/near_duplicates"),
        *("base_model", "sft_dataset", "llava_checkpoint", "evaluation"),
    }
    for asset, version in versions.items():
        assert f"| {asset} | {version} |" in card.text, asset
    assert '"what is it?"' in card.text
    assert '["Terrace/Patio", "pool"]' in card.text
    assert "- label: a {label}." in card.text
    assert f"| accuracy | {evaluation.metadata['accuracy']:.4f} |" in card.text
    assert f"| champion before | {evaluation.metadata['champion']} (the base model) |" in card.text
    assert "promoted: better by +1.000" in card.text
    assert "| learning_rate | 0.001 |" in card.text
    assert f"models/{said['digest']}/adapter" in card.text


def newest(tables: Lake) -> list[Record]:
    return list(History.read(tables).newest.values())


def test_the_same_model_with_the_same_settings_is_not_packed_again(tables: Lake, packings: list[str]) -> None:
    judged(tables)
    first = bundled(tables)
    again = bundled(tables)
    assert nothing_new(again, first)
    assert again.metadata["bundle"] == first.metadata["bundle"]
    # A challenger that loses makes a new evaluation, and leaves the production model where it is.
    judged(tables, promoted=False, seed=2)
    kept = bundled(tables)
    assert (kept.ref, kept.metadata["bundle"]) == (first.ref, first.metadata["bundle"])
    assert len(packings) == 1


def test_other_settings_or_another_model_make_another_bundle(tables: Lake, packings: list[str]) -> None:
    judged(tables)
    first = bundled(tables)
    older = bundled(tables, mode="rolling_batch")
    bf16 = bundled(tables, precision="bf16")
    judged(tables, seed=2)
    other = bundled(tables)
    made = [record.metadata for record in (first, older, bf16, other)]
    assert len({said["bundle"] for said in made}) == len({said["sha256"] for said in made}) == 4
    assert len({said["digest"] for said in made}) == 2
    assert len(packings) == 4
    # Back again: that bundle is there, and the asset names it by a version of its own.
    judged(tables, promoted=False, seed=3)
    back = bundled(tables, precision="bf16")
    assert back.metadata["rows_computed"] == 1  # of the other model: not yet packed
    again = bundled(tables)
    assert (again.metadata["bundle"], again.metadata["rows_computed"]) == (other.metadata["bundle"], 0)
    assert again.ref.version > other.ref.version
    assert not again.reused
    assert len(packings) == 5
    assert nothing_new(bundled(tables), again)


def test_a_bundle_whose_file_is_gone_or_cut_is_packed_again(anywhere: Lake, packings: list[str]) -> None:
    judged(anywhere)
    first = bundled(anywhere)
    spoil(anywhere, first.metadata["uri"])
    second = bundled(anywhere)
    assert second.metadata["sha256"] == first.metadata["sha256"]
    assert bundle_sha256(anywhere, first.metadata["uri"]) == first.metadata["sha256"]
    assert len(rows(anywhere)) == 1
    assert len(packings) == 2


def spoil(tables: Lake, uri: str) -> None:
    if tables.root.startswith("s3://"):
        bucket, _, root = tables.root.removeprefix("s3://").partition("/")
        client(tables.s3).put_object(Bucket=bucket, Key=f"{root}/{uri}", Body=b"cut")
    else:
        Path(tables.root, uri).write_bytes(b"cut")


def test_a_model_whose_files_are_gone_is_refused(tables: Lake) -> None:
    digest = judged(tables).metadata["production"]
    (local_folder(tables, digest) / "config.json").unlink()
    with pytest.raises(RefusalError, match=f"the files of model {digest} are not in the lake"):
        bundled(tables)


@pytest.mark.s3
def test_a_bundle_is_uploaded_and_the_row_says_where(tables: Lake, bucket: Bucket, packings: list[str]) -> None:
    tables = Lake(tables.root, bucket.s3)
    judged(tables)
    first = bundled(tables)
    uploaded = bundled(tables, upload_to=f"{bucket.uri}/models")
    uri = f"{bucket.uri}/models/{first.metadata['digest']}-{first.metadata['bundle']}/model.tar.gz"
    assert uploaded.metadata["uploaded_to"] == uri
    assert (uploaded.metadata["bundle"], uploaded.ref.version) == (first.metadata["bundle"], first.ref.version + 1)
    assert [row["uploaded_to"] for row in rows(tables)] == [uri]
    found = client(bucket.s3).get_object(Bucket=bucket.name, Key=uri.removeprefix(f"{bucket.uri}/"))
    assert hashlib.sha256(found["Body"].read()).hexdigest() == first.metadata["sha256"]
    assert nothing_new(bundled(tables, upload_to=f"{bucket.uri}/models"), uploaded)
    # Somebody deleted it: it is sent again, and the lake stays as it is.
    bucket.delete(uri.removeprefix(f"{bucket.uri}/"))
    assert nothing_new(bundled(tables, upload_to=f"{bucket.uri}/models"), uploaded)
    assert client(bucket.s3).list_objects_v2(Bucket=bucket.name)["KeyCount"] == 1
    assert len(packings) == 1


@pytest.mark.s3
@pytest.mark.parametrize(("method", "named"), [("HEAD", "403"), ("POST", "AccessDenied")])
def test_an_upload_that_is_refused_keeps_what_was_packed(
    tables: Lake, bucket: Bucket, proxy: Proxy, packings: list[str], method: str, named: str
) -> None:
    tables = Lake(tables.root, proxy.s3)
    judged(tables)
    proxy.faults.append(Fault("model.tar.gz", status=403, code="AccessDenied", method=method))
    with pytest.raises(RefusalError, match=rf"^serve.upload_to \(MM_SERVE__UPLOAD_TO\): .*\({named}: "):
        bundled(tables, upload_to=bucket.uri)
    proxy.faults.clear()
    record = bundled(tables, upload_to=bucket.uri)
    assert record.metadata["uploaded_to"].startswith(f"{bucket.uri}/{record.metadata['digest']}-")
    assert len(packings) == 1


@pytest.mark.s3
def test_a_lake_in_a_bucket_sends_its_bundle_on(bucket: Bucket, packings: list[str]) -> None:
    tables = Lake(f"{bucket.uri}/a/lake", bucket.s3)
    judged(tables)
    first = bundled(tables)
    uploaded = bundled(tables, upload_to=f"{bucket.uri}/models")
    assert uploaded.metadata["bundle"] == first.metadata["bundle"]
    keys = {item["Key"]: item["Size"] for item in client(bucket.s3).list_objects_v2(Bucket=bucket.name)["Contents"]}
    sizes = {key: size for key, size in keys.items() if key.endswith("model.tar.gz")}
    name = f"{first.metadata['digest']}-{first.metadata['bundle']}/model.tar.gz"
    assert sizes == dict.fromkeys((f"a/lake/bundles/{name}", f"models/{name}"), first.metadata["num_bytes"])
    assert len(packings) == 1


@pytest.mark.s3
def test_what_was_uploaded_loads_and_answers(tables: Lake, bucket: Bucket, tmp_path: Path) -> None:
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    tables = Lake(tables.root, bucket.s3)
    judged(tables)
    uri = bundled(tables, upload_to=bucket.uri).metadata["uploaded_to"]
    archive = tmp_path / "model.tar.gz"
    client(bucket.s3).download_file(bucket.name, uri.removeprefix(f"{bucket.uri}/"), str(archive))
    unpack(archive, tmp_path / "out")
    request = json.loads((tmp_path / "out" / "request.json").read_text())
    prompt = request["messages"][0]["content"][1]["text"]
    processor = AutoProcessor.from_pretrained(tmp_path / "out", local_files_only=True)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "out", local_files_only=True, dtype=torch.float32)
    text = processor.apply_chat_template([user_message(prompt)], tokenize=False)
    inputs = processor(text=[text], images=[Image.new("RGB", (96, 64))], return_tensors="pt", add_special_tokens=False)
    made = model.generate(**inputs, max_new_tokens=5, do_sample=False)
    assert made.shape[1] > inputs["input_ids"].shape[1]


def test_the_previews_show_the_card_and_the_properties(tables: Lake) -> None:
    judged(tables)
    record = bundled(tables)
    shown = previews(materialized(tables, record))
    assert shown["preview_card"].startswith("```yaml\nlicense: apache-2.0\n")
    assert "## Evaluation" in shown["preview_card"]
    assert "option.async_mode=true" in shown["preview_properties"]
    bundle = find(tables, record.metadata["bundle"])
    assert bundle is not None
    assert bundle.uri == record.metadata["uri"]
