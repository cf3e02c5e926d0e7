"""Every line of a manifest is an entry, and a bad one says what is wrong with it."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mm_assets.engines.sources import manifest as manifest_source
from mm_assets.engines.sources.manifest import ManifestSource
from mm_assets.engines.sources.source import LISTING
from mm_assets.engines.store import s3
from mm_assets.images import ImageError
from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import S3Settings
from mm_assets_tests.kit.stores import Bucket, Fault, Proxy

S3 = S3Settings()


def manifest(path: Path, content: str | bytes) -> ManifestSource:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return ManifestSource(str(path), S3)


def entries(source: ManifestSource) -> list[dict[str, Any]]:
    listing = source.list(print)
    assert listing.schema == LISTING
    return listing.to_pylist()


def errors(source: ManifestSource) -> dict[str, str | None]:
    return {row["image_id"]: row["error"] for row in entries(source)}


def parquet(path: Path, columns: dict[str, pa.Array | list[Any]]) -> ManifestSource:
    pq.write_table(pa.table(columns), path)
    return ManifestSource(str(path), S3)


CSV = "\ufeff uri ,caption,ignored,label,image_id\r\na.jpg,,7,Terrace/Patio,001\r\n\r\n b.jpg , A  roof ,,,\r\n"
JSON_LINES = (
    '{"uri": "a.jpg", "caption": null, "ignored": [7], "label": "Terrace/Patio", "image_id": "001"}\n\n'
    '{"uri": " b.jpg ", "caption": " A  roof ", "label": " "}\n'
)


@pytest.mark.parametrize("ending", [".csv", ".CSV", ".jsonl", ".ndjson", ".parquet"])
def test_each_format_gives_the_same_rows(tmp_path: Path, ending: str) -> None:
    (tmp_path / "a.jpg").write_bytes(b"first")
    path = tmp_path / f"list{ending}"
    if ending == ".parquet":
        columns = {"uri": ["a.jpg", " b.jpg "], "caption": [None, " A  roof "], "label": ["Terrace/Patio", ""]}
        source = parquet(path, {**columns, "image_id": ["001", None], "ignored": [[7], None]})
    else:
        source = manifest(path, CSV if ending.lower() == ".csv" else JSON_LINES)
    first, second = entries(source)
    assert first.pop("etag").startswith("5-")
    assert first == {
        "image_id": "001",
        "source_uri": "a.jpg",
        "size": 5,
        "label": "Terrace/Patio",
        "caption": None,
        "error": None,
    }
    nothing = dict.fromkeys(("etag", "size", "label", "error"))
    assert second == {"image_id": "b.jpg", "source_uri": "b.jpg", "caption": "A  roof", **nothing}
    assert source.read("a.jpg", 10) == b"first"
    with pytest.raises(ImageError, match="unreadable: FileNotFoundError"):
        source.read("b.jpg", 10)


def test_values_stay_the_text_that_they_are(tmp_path: Path) -> None:
    caption = 'two\r\nlines, and "quotes"'
    of_csv = manifest(tmp_path / "a.csv", 'uri,label,image_id,caption\n1.10,007,-0,"two\r\nlines, and ""quotes"""\n')
    of_json = manifest(
        tmp_path / "a.jsonl", f'{{"uri": 1.10, "label": "007", "image_id": -0, "caption": {json.dumps(caption)}}}'
    )
    for source in (of_csv, of_json):
        (row,) = entries(source)
        assert (row["source_uri"], row["label"], row["image_id"], row["caption"]) == ("1.10", "007", "-0", caption)


def test_columns_of_parquet_are_cast_to_text(tmp_path: Path) -> None:
    dictionary = pa.array(["pool", None]).dictionary_encode()
    source = parquet(tmp_path / "a.parquet", {"uri": [b"1.jpg", b"\xff"], "label": dictionary, "image_id": [7, 8]})
    first, second = entries(source)
    assert (first["image_id"], first["label"], first["source_uri"]) == ("7", "pool", "1.jpg")
    assert (second["image_id"], second["error"]) == ("line 2", "bad manifest line 2: uri is not Unicode text")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{'uri': 'x'}", "Expecting property name"),
        ("[1]", "not a JSON object"),
        ('{"uri": "x", "label": NaN}', "NaN is no JSON"),
        ('{"uri": "x", "label": ["pool"]}', r"label is no text \(list\)"),
        ('{"uri": "x", "label": true}', r"label is no text \(bool\)"),
        ('{"uri": "x\\ud800"}', "uri is not Unicode text"),
        ('{"uri": " "}', "the uri is empty"),
        ('{"label": "pool"}', "the uri is empty"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_bad_line_of_json_is_an_entry_with_its_number(tmp_path: Path, line: str, says: str) -> None:
    found = errors(manifest(tmp_path / "list.jsonl", f'\n{line}\n{{"uri": "ok.jpg"}}'))
    assert list(found) == ["line 2", "ok.jpg"]
    with pytest.raises(ImageError, match=f"^bad manifest line 2: .*{says}"):
        raise ImageError(found["line 2"])
    assert found["ok.jpg"] is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("x.jpg", "bad manifest line 3: 1 fields, the first line has 2"),
        ("x.jpg,pool,", "bad manifest line 3: 3 fields, the first line has 2"),
        (",pool", "bad manifest line 3: the uri is empty"),
        ('"x".jpg,pool', "bad manifest line 3: ',' expected after '\"' (read up to line 3)"),
        ("x" * 200_000 + ",pool", "bad manifest line 3: field larger than field limit (131072) (read up to line 3)"),
    ],
)
def test_a_bad_line_of_csv_is_an_entry_with_its_number(tmp_path: Path, line: str, says: str) -> None:
    found = errors(manifest(tmp_path / "list.csv", f"\nuri,label\n{line}\n   \nok.jpg,pool\n"))
    assert found == {"line 3": says, "ok.jpg": None}


def test_a_quote_that_is_never_closed_says_how_far_it_went(tmp_path: Path) -> None:
    found = errors(manifest(tmp_path / "list.csv", 'uri\nok.jpg\n"a.jpg\nb.jpg\nc.jpg\n'))
    assert found == {"ok.jpg": None, "line 3": "bad manifest line 3: unexpected end of data (read up to line 5)"}


def test_the_line_of_a_record_is_its_first(tmp_path: Path) -> None:
    found = errors(manifest(tmp_path / "list.csv", 'uri,caption\n"a.jpg","x\ny\nz"\n"b.jpg","x\ny",1\nc.jpg\n'))
    assert list(found) == ["a.jpg", "line 5", "line 7"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("list.csv", "path,label\na.jpg,pool\n", r"no column `uri` \(found: path, label\)"),
        ("list.csv", "", r"no column `uri` \(found: none\)"),
        ("list.csv", "uri,label,uri\n", "two columns `uri`"),
        ("list.csv", "uri,label\na.jpg,h\u00f4tel\n".encode("latin-1"), r"not UTF-8 text \(byte 0xf4\)"),
        ("list.csv", "uri\n".encode("utf-16"), "not UTF-8 text"),
        ("list.jsonl", '{"path": "a.jpg"}\nbroken\n{"label": "pool"}', r"no column `uri` \(found: path, label\)"),
        ("list.jsonl", '[{"uri": "a.jpg"}]', r"no column `uri` \(found: none\)"),
        ("list.parquet", "uri\na.jpg\n", "no Parquet file"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    with pytest.raises(RefusalError, match=rf"MM_SOURCE.*{name} cannot be read: .*{says}"):
        manifest(tmp_path / name, content).list(print)


def test_parquet_of_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusalError, match=r"no column `uri` \(found: path\)"):
        parquet(tmp_path / "a.parquet", {"path": ["a.jpg"]}).list(print)
    with pytest.raises(RefusalError, match="columns of text"):
        parquet(tmp_path / "a.parquet", {"uri": ["a.jpg"], "label": [["pool"]]}).list(print)


def test_parquet_with_damaged_pages_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    source = parquet(path, {"uri": [f"{number}.jpg" for number in range(1000)]})
    data = bytearray(path.read_bytes())
    data[4:2000] = bytes(1996)
    path.write_bytes(data)
    with pytest.raises(RefusalError, match=r"MM_SOURCE.*a\.parquet cannot be read: it is no Parquet file"):
        source.list(print)


def test_a_manifest_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusalError, match=r"MM_SOURCE.*list\.csv cannot be read: .*No such file"):
        ManifestSource(str(tmp_path / "list.csv"), S3).list(print)


def test_uris_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    (folder / "sub").mkdir(parents=True)
    for path in (folder / "100%41.jpg", tmp_path / "up.jpg", folder / "sub" / "#1.jpg"):
        path.write_bytes(path.name.encode())
    uris = ["100%41.jpg", "sub/#1.jpg", "./sub/../100%41.jpg", "../up.jpg", str(tmp_path / "up.jpg")]
    uris += [(tmp_path / "up.jpg").as_uri(), (folder / "sub" / "#1.jpg").as_uri(), f"file://localhost{tmp_path}/up.jpg"]
    assert "a%20b/sub/%231.jpg" in uris[6]
    source = manifest(folder / "list.jsonl", "\n".join(json.dumps({"uri": uri}) for uri in uris))
    rows = entries(source)
    assert [row["source_uri"] for row in rows] == [row["image_id"] for row in rows] == uris
    assert all(row["etag"] for row in rows)
    names = ["100%41.jpg", "#1.jpg", "100%41.jpg", "up.jpg", "up.jpg", "up.jpg", "#1.jpg", "up.jpg"]
    assert [source.read(uri, 100).decode() for uri in uris] == names


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("http://example.org/a.jpg", r"http\(s\) uris are not read yet: copy the objects into a folder or bucket"),
        ("HTTPS://example.org/a.jpg", r"http\(s\) uris are not read yet"),
        ("gs://bucket/a.jpg", "gs uris are not read yet"),
        ("file://server/share/a.jpg", r"another machine \(server\)"),
        ("s3://bucket", "an s3 uri is s3://bucket/key"),
        ("s3:///a.jpg", "an s3 uri is s3://bucket/key"),
        ("s3://no bucket/a.jpg", "an s3 uri is s3://bucket/key"),
        ("file:///a%00b", "null character"),
        ("a\0b", "null character"),
    ],
)
def test_a_uri_that_is_not_read_is_an_entry_with_a_reason(tmp_path: Path, uri: str, says: str) -> None:
    (row,) = entries(manifest(tmp_path / "list.jsonl", json.dumps({"uri": uri, "image_id": "x", "label": "pool"})))
    assert (row["image_id"], row["source_uri"], row["label"], row["etag"]) == ("x", uri, "pool", None)
    with pytest.raises(ImageError, match=f"^unsupported uri: .*{says}"):
        raise ImageError(row["error"])


def test_the_first_line_keeps_an_id_and_later_ones_get_free_ones(tmp_path: Path) -> None:
    lines = ["uri,image_id", "a.jpg,lobby-7", "b.jpg,lobby-7", "c.jpg,lobby-7~2", "d.jpg,lobby-7", "a.jpg,lobby-7"]
    lines += [",", "e.jpg,line 7", "f.jpg,", "g.jpg,f.jpg"]
    assert errors(manifest(tmp_path / "list.csv", "\n".join(lines))) == {
        "lobby-7": None,
        "lobby-7~3": "repeated id: lobby-7 is also line 2",
        "lobby-7~2": None,
        "lobby-7~4": "repeated id: lobby-7 is also line 2",
        "lobby-7~5": "repeated id: lobby-7 is also line 2",
        "line 7~2": "bad manifest line 7: the uri is empty",
        "line 7": None,
        "f.jpg": None,
        "f.jpg~2": "repeated id: f.jpg is also line 9",
    }


def test_an_id_that_is_repeated_very_often_is_no_matter_of_hours(tmp_path: Path) -> None:
    found = errors(manifest(tmp_path / "list.csv", "uri\n" + "a.jpg\n" * 30_000))
    assert len(found) == 30_000
    assert found["a.jpg~30000"] == "repeated id: a.jpg is also line 2"


@pytest.mark.s3
def test_a_manifest_in_a_bucket_lists_what_lies_beside_it(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "local.jpg").write_bytes(b"local")
    for key in ("photos/a b.jpg", "photos/100%41.jpg", "up.jpg", "other/#1.jpg"):
        bucket.put(key, key.encode())
    uris = ["a b.jpg", "100%41.jpg", "../up.jpg", f"{bucket.uri}/other/#1.jpg", str(tmp_path / "local.jpg"), "gone.jpg"]
    place = bucket.put("photos/list.csv", "\n".join(["uri", *uris]).encode())
    source = ManifestSource(place, bucket.s3)
    rows = entries(source)
    assert [row["size"] for row in rows] == [14, 17, 6, 12, 5, None]
    assert [row["etag"] is None for row in rows] == [False] * 5 + [True]
    read = [source.read(uri, 100).decode() for uri in uris[:5]]
    assert read == ["photos/a b.jpg", "photos/100%41.jpg", "up.jpg", "other/#1.jpg", "local"]
    with pytest.raises(ImageError, match="unreadable: NoSuchKey"):
        source.read("gone.jpg", 100)


@pytest.mark.s3
def test_a_bucket_that_one_line_misspells_is_the_error_of_that_line(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("uri\ns3://mis-spelled/a.jpg\n")
    source = ManifestSource(str(tmp_path / "list.csv"), bucket.s3)
    (row,) = entries(source)
    assert (row["etag"], row["error"]) == (None, None)
    with pytest.raises(ImageError, match="unreadable: NoSuchBucket"):
        source.read("s3://mis-spelled/a.jpg", 10)


@pytest.mark.s3
def test_looking_up_tells_a_forbidden_object_from_refused_credentials(bucket: Bucket, proxy: Proxy) -> None:
    uri = bucket.put("secret", b"1")
    source = ManifestSource(bucket.put("list.csv", f"uri\n{uri}".encode()), proxy.s3)
    proxy.faults = [Fault("secret", status=403, code="AccessDenied")]
    assert [(row["etag"], row["error"]) for row in entries(source)] == [(None, None)]
    proxy.faults = [Fault("secret", status=403, code="InvalidAccessKeyId")]
    with pytest.raises(RefusalError, match=rf"{uri}, an object of .*InvalidAccessKeyId.*set AWS_ACCESS_KEY_ID"):
        source.list(print)


@pytest.mark.s3
@pytest.mark.parametrize(("key", "says"), [("gone.csv", "NoSuchKey"), ("down.csv", "InternalError.*run it again")])
def test_a_manifest_that_a_bucket_does_not_give_is_refused(
    bucket: Bucket, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, key: str, says: str
) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    proxy.faults = [Fault("down.csv", status=500, code="InternalError")]
    with pytest.raises(RefusalError, match=f"MM_SOURCE.*{bucket.uri}/{key}.*{says}"):
        ManifestSource(f"{bucket.uri}/{key}", proxy.s3).list(print)


def test_looking_up_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_source, "LOOKED_UP_ROWS", 2)
    said: list[str] = []
    source = manifest(tmp_path / "list.csv", "uri\na\nb\nc\n")
    assert source.list(said.append)["image_id"].to_pylist() == ["a", "b", "c"]
    assert said[-1].startswith("3 of 3 objects looked up")
