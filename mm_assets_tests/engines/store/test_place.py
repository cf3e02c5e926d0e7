"""What a place promises, of a folder and of a bucket alike."""

import hashlib
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mm_assets.engines.store.bucket import Bucket as BucketPlace
from mm_assets.engines.store.folder import Folder
from mm_assets.engines.store.opening import local_paths, place_at
from mm_assets.engines.store.place import Place
from mm_assets.engines.store.s3 import client, split
from mm_assets.settings import S3Settings
from mm_assets_tests.kit.stores import Bucket

HOUR = 3600.0


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place, with a neighbour whose name begins as its own does."""
    if request.param == "folder":
        root, s3 = str(tmp_path / "a" / "lake"), S3Settings()
    else:
        bucket: Bucket = request.getfixturevalue("bucket")
        root, s3 = f"{bucket.uri}/a/lake", bucket.s3
    write(place_at(f"{root}side", s3), "neighbour", b"of another")
    return place_at(root, s3)


def write(place: Place, path: str, data: bytes = b"four") -> None:
    with place.building(".write") as folder:
        file = folder / "data"
        file.write_bytes(data)
        place.put(file, path, hashlib.sha256(data).hexdigest(), "sha256", print)


def paths(place: Place) -> list[str]:
    return sorted(path for path, _ in place.files())


def test_a_uri_names_its_place_which_travels() -> None:
    s3 = S3Settings(region="here")
    assert place_at("/lake", s3) == Folder("/lake")
    opened = place_at("s3://lake/rooms", s3)
    assert opened == BucketPlace("s3://lake/rooms", s3)
    assert pickle.loads(pickle.dumps(opened)) == opened
    assert local_paths(["/photos", "s3://lake/rooms", "drawn"]) == ["/photos", "drawn"]


def test_files_are_listed_with_bytes_and_age_and_read_again(place: Place) -> None:
    assert paths(place) == []
    write(place, "b", b"12345")
    write(place, "deep/er/a")
    listed = dict(place.files())
    assert {path: file.num_bytes for path, file in listed.items()} == {"b": 5, "deep/er/a": 4}
    assert all(abs(file.written - time.time()) < 60 for file in listed.values())
    assert paths(place.below("deep")) == ["er/a"]
    with place.open("b") as file:
        assert (file.read(2), file.read()) == (b"12", b"345")


def test_a_missing_file_has_no_size_and_cannot_be_read(place: Place, tmp_path: Path) -> None:
    write(place, "a")
    assert (place.size("a"), place.size("b"), place.size("a/b")) == (4, None, None)
    with pytest.raises(FileNotFoundError), place.open("b"):
        pass
    with pytest.raises(FileNotFoundError):
        place.fetch("b", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_file_is_fetched_and_stays(place: Place, tmp_path: Path) -> None:
    write(place, "deep/a", b"bytes")
    place.fetch("deep/a", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"bytes"
    assert paths(place) == ["deep/a"]


def test_a_local_path_has_the_files(place: Place, tmp_path: Path) -> None:
    write(place, "deep/a", b"bytes")

    def copy() -> Path:
        place.fetch("deep/a", tmp_path / "a")
        return tmp_path

    assert (place.local("deep", copy) / "a").read_bytes() == b"bytes"


def test_the_same_folder_is_put_once_and_one_that_lost_a_file_again(place: Place) -> None:
    def put() -> None:
        with place.building(".building-1") as folder:
            (folder / "deep").mkdir()
            (folder / "deep" / "a").write_bytes(b"1")
            (folder / "b").write_bytes(b"22")
            place.put_folder(folder, "kept")

    put()
    first = dict(place.files())
    assert {path: file.num_bytes for path, file in first.items()} == {"kept/deep/a": 1, "kept/b": 2}
    put()
    assert dict(place.files()).keys() == first.keys()
    place.remove(["kept/b"])
    put()
    assert dict(place.files()).keys() == first.keys()


def test_what_was_built_and_failed_leaves_nothing(place: Place) -> None:
    built: list[Path] = []

    def build() -> None:
        with place.building(".building-1") as folder:
            built.append(folder)
            (folder / "half").write_text("a model")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        build()
    assert not built[0].exists()
    assert paths(place) == []


def test_files_are_removed_and_missing_ones_are_no_error(place: Place) -> None:
    for path in ("a", "deep/a", "deep/b"):
        write(place, path)
    place.remove(["a", "deep/b", "never"])
    assert paths(place) == ["deep/a"]


def test_a_folder_is_removed_with_all_below_it_and_its_namesake_stays(place: Place) -> None:
    for path in ("deep/a", "deep/er/b", "deeper/c"):
        write(place, path)
    place.remove_folder("deep")
    place.remove_folder("never")
    assert paths(place) == ["deeper/c"]
    assert paths(place_at(f"{place.uri}side", getattr(place, "s3", S3Settings()))) == ["neighbour"]


def test_a_shared_folder_is_removed(place: Place) -> None:
    write(place, "a")
    with place.shared(".training-1") as (path, filesystem):
        if filesystem is None:
            Path(path, "checkpoint").write_text("x")
        else:
            with filesystem.open_output_stream(f"{path}/checkpoint") as file:
                file.write(b"x")
        assert ".training-1/checkpoint" in paths(place)
    # Arrow leaves an empty object for a folder of a bucket.
    assert [path for path in paths(place) if not path.endswith("/")] == ["a"]


def test_a_place_with_files_is_not_missing(place: Place) -> None:
    write(place, "deep/a")
    assert not place.is_missing()
    assert not place.below("deep").is_missing()
    place.create()
    assert paths(place) == ["deep/a"]


def test_a_folder_that_was_never_made_is_missing_until_it_is_created(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "a" / "b"))
    assert folder.is_missing()
    assert (list(folder.files()), list(folder.folders())) == ([], [])
    folder.create()
    assert not folder.is_missing()


def test_empty_folders_go_when_they_are_old(tmp_path: Path) -> None:
    for name in ("full", "old", "young"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "a").touch()
    for name in ("full", "old"):
        os.utime(tmp_path / name, (0, 0))
    folder = Folder(str(tmp_path))
    folder.remove_empty_folders(time.time() - HOUR)
    assert sorted(name for name, _ in folder.folders()) == ["full", "young"]


def test_a_file_that_goes_away_while_it_is_listed_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for path in ("deep/a", "deep/b"):
        (tmp_path / path).touch()
    listing = Folder(str(tmp_path)).files()
    first, _ = next(listing)
    for path in ("deep/a", "deep/b"):
        (tmp_path / path).unlink()
    assert (first in ("deep/a", "deep/b"), list(listing)) == (True, [])


@pytest.mark.s3
def test_only_old_uploads_of_the_place_are_aborted(bucket: Bucket) -> None:
    place, store = place_at(f"{bucket.uri}/a/lake", bucket.s3), client(bucket.s3)
    for key in ("a/lake/x", "a/lakeside/y"):
        store.create_multipart_upload(Bucket=bucket.name, Key=key)
    assert place.abort_uploads(0) == 0
    assert place.abort_uploads(time.time() + HOUR) == 1
    assert [item["Key"] for item in store.list_multipart_uploads(Bucket=bucket.name)["Uploads"]] == ["a/lakeside/y"]


@pytest.mark.s3
def test_a_whole_bucket_is_a_place(bucket: Bucket) -> None:
    place = place_at(bucket.uri, bucket.s3)
    write(place, "deep/a")
    assert (paths(place), paths(place.below("deep"))) == (["deep/a"], ["a"])
    assert client(bucket.s3).head_object(Bucket=bucket.name, Key="deep/a")["ContentLength"] == 4


@pytest.mark.s3
@pytest.mark.parametrize(
    "ask",
    [
        lambda place: list(place.files()),
        lambda place: place.size("a"),
        lambda place: place.open("a"),
    ],
)
def test_a_refused_request_is_no_missing_file(bucket: Bucket, ask: Callable[[Place], object]) -> None:
    """Else a store that is down, or credentials that ended, would look like files that are lost."""
    bucket.put("lake/a", b"four")
    place = place_at(f"{bucket.uri}/lake", bucket.s3)
    refused = client(bucket.s3).exceptions.ClientError({"Error": {"Code": "AccessDenied"}}, "any")

    class Refusing:
        def __getattr__(self, name: str) -> Callable[..., object]:
            def refuse(*_: object, **__: object) -> object:
                raise refused

            return refuse

    with pytest.MonkeyPatch.context() as patch:
        for module in ("bucket", "s3"):
            patch.setattr(f"mm_assets.engines.store.{module}.client", lambda _: Refusing())
        with pytest.raises(type(refused)):
            ask(place)


def test_bucket_and_key_of_a_uri() -> None:
    assert split("s3://bucket/a/b") == ("bucket", "a/b")
    assert split("s3://bucket") == ("bucket", "")
