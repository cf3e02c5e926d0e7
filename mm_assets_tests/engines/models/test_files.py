"""The files of models, in a folder and in a bucket."""

from pathlib import Path

import pytest

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import (
    files_digest,
    has_model,
    keep_model,
    local_folder,
    model_staging,
    training_storage,
)
from mm_assets.engines.store.s3 import client
from mm_assets.lineage.errors import RefusalError
from mm_assets_tests.kit.stores import Bucket


@pytest.fixture
def tables(anywhere: Lake) -> Lake:
    return anywhere


def kept(tables: Lake, text: str = "weights") -> str:
    with model_staging(tables) as folder:
        (folder / "adapter").mkdir()
        (folder / "model.safetensors").write_text(text)
        (folder / "adapter" / "config.json").write_text("{}")
        digest, num_bytes = keep_model(tables, folder)
    assert num_bytes == len(text) + 2
    return digest


def test_what_is_kept_comes_back_whole(tables: Lake) -> None:
    digest = kept(tables)
    assert has_model(tables, digest, len("weights{}"))
    assert not has_model(tables, "0" * 16, 9)
    folder = local_folder(tables, digest)
    assert files_digest(folder)[0] == digest
    assert (folder / "adapter" / "config.json").read_text() == "{}"


def test_the_same_files_are_kept_once(tables: Lake) -> None:
    assert kept(tables) == kept(tables)
    assert kept(tables) != kept(tables, "other weights")


def test_a_model_that_lost_a_file_is_not_there_until_it_is_made_again(
    tables: Lake, request: pytest.FixtureRequest
) -> None:
    text = "weights that will be lost"
    digest, num_bytes = kept(tables, text), len(text) + 2
    if tables.root.startswith("s3://"):
        request.getfixturevalue("bucket").delete(f"a/lake/models/{digest}/model.safetensors")
    else:
        Path(tables.root, "models", digest, "model.safetensors").unlink()
    assert not has_model(tables, digest, num_bytes)
    assert kept(tables, text) == digest
    assert has_model(tables, digest, num_bytes)
    assert files_digest(local_folder(tables, digest))[0] == digest


def test_what_a_failed_build_leaves_is_removed(tables: Lake) -> None:
    def build() -> None:
        with model_staging(tables) as folder:
            built.append(folder)
            (folder / "half").write_text("a model")
            raise ZeroDivisionError

    built: list[Path] = []
    with pytest.raises(ZeroDivisionError):
        build()
    assert not built[0].exists()


def test_the_checkpoints_of_a_training_are_removed(tables: Lake) -> None:
    with training_storage(tables) as (path, filesystem):
        if filesystem is None:
            Path(path, "checkpoint").write_text("x")
        else:
            with filesystem.open_output_stream(f"{path}/checkpoint") as file:
                file.write(b"x")
    if filesystem is None:
        assert not Path(path).exists()
    else:
        bucket, prefix = path.split("/", 1)
        found = client(tables.s3).list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/checkpoint")
        assert found["KeyCount"] == 0


@pytest.mark.s3
def test_a_damaged_model_in_a_bucket_is_refused(bucket: Bucket) -> None:
    tables = Lake(f"{bucket.uri}/lake", bucket.s3)
    digest = kept(tables, "weights of this test")
    bucket.put(f"lake/models/{digest}/model.safetensors", b"other bytes")
    with pytest.raises(RefusalError, match=f"are not those of model {digest}: materialize it again"):
        local_folder(tables, digest)


@pytest.mark.s3
def test_a_model_in_a_bucket_is_fetched_once(bucket: Bucket) -> None:
    tables = Lake(f"{bucket.uri}/lake", bucket.s3)
    digest = kept(tables, "weights fetched once")
    first = local_folder(tables, digest)
    bucket.delete(f"lake/models/{digest}/model.safetensors")
    assert local_folder(tables, digest) == first
    assert (first / "model.safetensors").is_file()
