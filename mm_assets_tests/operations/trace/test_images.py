"""The way of one image: up to its object, down to whoever saw it; also of one that is gone or is another by now."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.rows import replace_rows
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.history import History
from mm_assets.settings import CurateSettings
from mm_assets.stages.ingest.tables import OBJECTS, OBJECTS_SCHEMA
from mm_assets_tests.kit.in_process import InProcess
from mm_assets_tests.kit.lake_rows import ODD_NAMES, image_row, plain, record, write, write_images
from mm_assets_tests.kit.small_lake import LABEL, dataset, photos, store
from mm_assets_tests.kit.steps import ingest
from mm_assets_tests.kit.tracing import of_kind, one, traces_of
from mm_assets_tests.kit.two_rounds import BROKEN, CHANGED, ORIGINAL, REMOVED, TWIN, Rounds


def sha256(rounds: Rounds, name: str) -> str:
    return hashlib.sha256((rounds.folder / name).read_bytes()).hexdigest()


def test_up_leads_to_the_object_and_names_the_run_that_wrote_the_row(rounds: Rounds) -> None:
    trace = one(rounds.tables, ORIGINAL)
    listed, stored = rounds.second["raw_images"], rounds.second["image_table"]
    assert (trace.kind, trace.facts["state"], trace.facts["data_version"]) == ("image", "there", stored.data_version)
    assert trace.facts["sha256"] == sha256(rounds, ORIGINAL)
    (written,) = [node for node in of_kind(trace.up, "commit") if node.facts["did"] == "wrote the row"]
    first = rounds.first["image_table"]
    assert (written.id, written.facts["run_id"], written.facts["exact"]) == (first.data_version, first.run_id, True)
    (item,) = of_kind(trace.up, "object")
    assert (item.id, item.facts["data_version"]) == (ORIGINAL, listed.data_version)
    assert item.facts["size"] == (rounds.folder / ORIGINAL).stat().st_size


def test_scores_are_read_each_at_its_own_version(rounds: Rounds) -> None:
    trace = one(rounds.tables, ORIGINAL)
    scores = {node.id: node for node in of_kind(trace.down, "score")}
    assert set(scores) == {"scores/sharpness", "scores/exposure", "scores/entropy", "scores/phash"}
    assert scores["scores/sharpness"].facts["data_version"] == rounds.second["scores/sharpness"].data_version
    assert set(scores["scores/exposure"].facts["values"]) == {"luminance", "clipped"}
    (row,) = rounds.tables.open("images").to_table(filter=f"image_id = '{ORIGINAL}'", columns=["entropy"]).to_pylist()
    assert scores["scores/entropy"].facts["values"] == row
    assert {node.facts["same_bytes"] for node in scores.values()} == {True}
    (group,) = of_kind(trace.down, "near-duplicate group")
    assert group.facts["others"] == [TWIN] if group.id == ORIGINAL else [ORIGINAL]


def test_an_object_that_is_no_image_says_why_and_was_seen_by_nobody(rounds: Rounds) -> None:
    trace = one(rounds.tables, BROKEN)
    assert trace.facts["error"].startswith("corrupt:")
    assert {node.facts["revision"] for node in of_kind(trace.down, "score")} == {None}
    assert {node.facts["how"] for node in of_kind(trace.down, "checkpoint")} == {"did not see it"}
    assert all(node.facts["left_out"].startswith("no image:") for node in of_kind(trace.down, "example"))


def test_checkpoints_saw_what_their_own_dataset_says(rounds: Rounds) -> None:
    saw = {"train": "trained on it", "validation": "validated on it", "test": "held out, evaluated on it"}
    splits = set()
    for row in rounds.tables.open_at(rounds.second["sft_dataset"].ref).to_table(filter="split is not null").to_pylist():
        trace = one(rounds.tables, row["images"][0]["image_id"])
        newest = next(node for node in of_kind(trace.down, "example") if node.facts["newest"])
        (model,) = newest.children
        assert model.id == rounds.second["llava_checkpoint"].metadata["digest"]
        assert (newest.facts["split"], model.facts["how"]) == (row["split"], saw[row["split"]])
        assert [node.kind for node in model.children] == ["held-out answer"] * (row["split"] == "test")
        splits.add(row["split"])
    assert splits == set(saw)


def test_an_image_whose_bytes_changed_has_both_pasts(rounds: Rounds) -> None:
    trace = one(rounds.tables, CHANGED)
    assert trace.facts["sha256"] == sha256(rounds, CHANGED)
    (before,) = of_kind(trace.up, "earlier bytes")
    assert before.facts["sha256"] != trace.facts["sha256"]
    assert before.facts["data_version"] == rounds.first["image_table"].data_version
    assert [node.facts["data_version"] for node in of_kind([before], "object")] == [
        rounds.first["raw_images"].data_version
    ]
    now, then = of_kind(trace.down, "example")
    assert (now.facts["sha256"], now.facts["same_bytes"]) == (trace.facts["sha256"], True)
    assert (then.facts["sha256"], then.facts["same_bytes"]) == (before.facts["sha256"], False)
    digests = [
        rounds.first["llava_checkpoint"].metadata["digest"],
        rounds.second["llava_checkpoint"].metadata["digest"],
    ]
    assert [node.children[0].id for node in (then, now)] == digests
    predictions = {node.facts["model_digest"]: node.facts["same_bytes"] for node in of_kind(trace.down, "prediction")}
    assert predictions == {digests[0]: False, digests[1]: True}


def test_a_removed_image_is_still_known_to_have_been_seen(rounds: Rounds) -> None:
    trace = one(rounds.tables, REMOVED)
    assert (trace.facts["state"], trace.facts["removed_at"]) == ("removed", rounds.second["image_table"].data_version)
    assert trace.facts["data_version"] == rounds.first["image_table"].data_version
    assert [node.id for node in of_kind(trace.up, "object")] == [REMOVED]
    assert of_kind(trace.down, "no example")[0].id == rounds.second["sft_dataset"].data_version
    assert not of_kind(trace.down, "score")
    (example,) = of_kind(trace.down, "example")
    assert [node.id for node in example.children] == [rounds.first["llava_checkpoint"].metadata["digest"]]
    (prediction,) = of_kind(trace.down, "prediction")
    assert prediction.facts["run_id"] == rounds.first["batch_predictions"].run_id


def test_the_model_in_production_is_marked(own_rounds: Rounds) -> None:
    digest = own_rounds.first["llava_checkpoint"].metadata["digest"]
    rows = own_rounds.tables.open("evaluations").to_table().to_pylist()
    last = max(rows, key=lambda row: row["at"])
    schema = own_rounds.tables.open("evaluations").schema
    write(
        own_rounds.tables,
        "evaluations",
        schema,
        [{"id": "x", "production": digest, "at": last["at"].replace(year=2100)}],
    )
    models = {
        node.id: node.facts["in_production"] for node in of_kind(one(own_rounds.tables, ORIGINAL).down, "checkpoint")
    }
    assert models == {digest: True, own_rounds.second["llava_checkpoint"].metadata["digest"]: False}


def test_bytes_lead_to_all_identical_copies(rounds: Rounds) -> None:
    whole, *copies = traces_of(rounds.tables, sha256(rounds, ORIGINAL))
    assert (whole.kind, whole.facts) == ("bytes", {"copies": 2, "traced": 2})
    assert {trace.id for trace in copies} == {ORIGINAL, TWIN}


def test_bytes_that_are_gone_lead_to_the_image_that_had_them(rounds: Rounds) -> None:
    (old_digest,) = {node.facts["sha256"] for node in of_kind(one(rounds.tables, CHANGED).up, "earlier bytes")}
    _, trace = traces_of(rounds.tables, old_digest)
    assert (trace.id, trace.facts["sha256"] == old_digest) == (CHANGED, False)


@pytest.mark.parametrize("uri", [TWIN, quote(TWIN)])
def test_a_source_uri_leads_to_its_image(rounds: Rounds, uri: str) -> None:
    assert one(rounds.tables, uri).id == TWIN


def test_a_name_that_is_no_text_is_found_as_the_shell_gives_it(tables: Lake) -> None:
    name = b"caf\xe9.png"
    write_images(tables, [image_row("caf\\xe9.png", None, plain("red"), source_uri=quote(name))])
    record(tables, "image_table")
    for what in (os.fsdecode(name), "caf\\xe9.png", quote(name)):
        assert one(tables, what).id == "caf\\xe9.png"


def test_a_uri_of_several_images_leads_to_each(tables: Lake) -> None:
    uri = "https://example.com/ü.png"
    names = ("a", "b", uri)
    rows = [{"image_id": name, "source_uri": uri, "etag": "1", "size": 1} for name in names]
    write(tables, OBJECTS, OBJECTS_SCHEMA, rows)
    listed = record(tables, "raw_images")
    write_images(tables, [image_row(name, None, plain("red"), source_uri=uri) for name in names])
    record(tables, "image_table", [listed])
    assert {trace.id for trace in traces_of(tables, uri)} == set(names)
    assert one(tables, "a").id == "a"


def test_a_uri_of_a_manifest_is_shown_as_it_is(tmp_path: Path) -> None:
    tables, folder = Lake(str(tmp_path / "lake")), tmp_path / "photos"
    folder.mkdir()
    for name in ("a b.png", "a%20b.png", "other.png"):
        (folder / name).write_bytes(plain("red"))
    lines = ["a b.png,", "a%20b.png,", "file:///no%20where/other.png,caf\u00e9", "other.png,a b c.png"]
    (folder / "list.csv").write_text("\n".join(["uri,image_id", *lines]))
    ingest(tables, InProcess(), folder / "list.csv", error_budget=1)
    for name in ("a b.png", "a%20b.png", "file:///no%20where/other.png", "other.png"):
        (item,) = of_kind(one(tables, name).up, "object")
        assert (item.id, item.facts["source_uri"]) == (name, name)


def test_a_file_of_a_folder_is_shown_by_its_name(tmp_path: Path) -> None:
    tables, folder = Lake(str(tmp_path / "lake")), tmp_path / "photos"
    folder.mkdir()
    names = ("a b.png", "a%20b.png", "a\\b.png", "ü.png")
    for name in names:
        (folder / name).write_bytes(plain("red"))
    ingest(tables, InProcess(), folder)
    for name in names:
        whats = [what for what in (name, quote(name)) if what != "a%20b.png"]
        for (item,) in (of_kind(one(tables, what).up, "object") for what in whats):
            assert (item.id, item.facts["source_uri"]) == (name, quote(name))
    # The uri of one file is the name of another.
    assert {trace.id for trace in traces_of(tables, "a%20b.png")} == {"a b.png", "a%20b.png"}


def put_again(tables: Lake, *data: bytes) -> None:
    """An image whose file was replaced again and again, each time as a row of its own."""
    for number, item in enumerate(data):
        if number:
            commit(tables, "images", lambda ds: replace_rows(ds, "image_id", ["a"], []), {})
        write_images(tables, [image_row("a", None, item)])
        record(tables, "image_table")


def test_rows_of_the_same_bytes_are_no_earlier_bytes(tables: Lake) -> None:
    red, blue = plain("red"), plain("blue")
    put_again(tables, red, blue, red)
    trace = one(tables, "a")
    kinds = [node.kind for node in trace.up if node.kind.startswith("earlier")]
    assert kinds == ["earlier bytes", "earlier row"]
    assert trace.up[-1].facts["sha256"] == trace.facts["sha256"]


def test_a_row_without_known_bytes_is_an_earlier_row(tables: Lake) -> None:
    write_images(tables, [image_row("a", None, None)])
    record(tables, "image_table")
    put_again(tables, plain("red"))
    assert [node.kind for node in one(tables, "a").up if node.kind.startswith("earlier")] == ["earlier row"]


def test_a_row_that_carries_no_run_is_told_by_the_materialization_after_it(tables: Lake) -> None:
    write_images(tables, [image_row("a", None, plain("red"))])
    stored = record(tables, "image_table")
    (written,) = of_kind(one(tables, "a").up, "commit")
    assert (written.facts["exact"], written.facts["materialized"]) == (False, stored.data_version)
    assert written.facts["run_id"] == "run"


def test_a_row_that_carries_no_run_is_not_of_a_run_that_changed_nothing(tables: Lake) -> None:
    write_images(tables, [image_row("a", None, plain("red"))])
    stored = record(tables, "image_table")
    History.read(tables).append(replace(stored, id="again", run_id="another", reused=True))
    (written,) = of_kind(one(tables, "a").up, "commit")
    assert (written.facts["materialized"], written.facts["run_id"]) == (stored.data_version, "run")


def test_odd_names_are_found_as_they_are(tables: Lake) -> None:
    names = [*ODD_NAMES, "it's", "' or 'a' = 'a", "100%_", "label:x"]
    store(tables, [*photos(), *({"image_id": name, "label": "pool"} for name in names)])
    dataset(tables, CurateSettings(tasks=[LABEL]))
    for name in names:
        trace = one(tables, name)
        assert (trace.kind, trace.id) == ("image", name)
        assert [node.id for node in of_kind(trace.down, "example")] == [f"label:{name}"]
        assert one(tables, f"label:{name}").kind == "example"
