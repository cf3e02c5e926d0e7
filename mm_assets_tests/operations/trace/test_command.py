"""`mm-assets trace` as a user calls it: one sentence where nothing is found, a tree for people, JSON for programs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mm_assets.cli import main
from mm_assets.engines.lake.tables import Lake
from mm_assets.operations.trace.lines import line
from mm_assets.operations.trace.nodes import Node, Trace, as_values
from mm_assets.operations.trace.tree import MOST, trees
from mm_assets_tests.kit.lake_rows import ODD_NAMES
from mm_assets_tests.kit.project import Project
from mm_assets_tests.kit.small_lake import photos, store
from mm_assets_tests.kit.tracing import all_of, one, traces_of
from mm_assets_tests.kit.two_rounds import CHANGED, ORIGINAL, REMOVED, Rounds

# A trace in a process of its own, which then says what it has loaded.
LIGHT = """
import sys
from mm_assets.cli import main
assert main(["trace", sys.argv[1]]) == 0
heavy = {"dagster", "ray", "torch", "transformers", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""


def printed(traces: list[Trace], width: int = 120) -> str:
    console = Console(width=width, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    for tree in trees(traces):
        console.print(tree)
    return console.export_text()


def run(rounds: Rounds, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setenv("MM_LAKE", rounds.tables.root)
    return main(["trace", *arguments])


def nodes_of(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for node in (*values.get("up", ()), *values.get("down", ()), *values.get("children", ())):
        yield node
        yield from nodes_of(node)


def names(rounds: Rounds) -> list[str]:
    """Something of every kind."""
    predictions = rounds.tables.open("predictions").to_table(columns=["id", "sha256"]).to_pylist()
    models = rounds.tables.open("models").to_table(columns=["digest"])["digest"].to_pylist()
    versions = [record.data_version for record in rounds.second.values()]
    ids = [predictions[0]["id"], predictions[0]["sha256"], *models, *versions]
    return [ORIGINAL, CHANGED, REMOVED, f"label:{CHANGED}", *ids]


def test_the_json_has_a_stable_shape_and_all_that_the_tree_has(rounds: Rounds) -> None:
    for what in names(rounds):
        traces = traces_of(rounds.tables, what)
        assert traces, what
        values = json.loads(json.dumps(as_values(what, traces), allow_nan=False))
        assert (set(values), values["what"]) == ({"what", "found"}, what)
        for item, values_of_one in zip(traces, values["found"], strict=True):
            assert set(values_of_one) == {"kind", "id", "said", "up", "down"}
            nodes = list(nodes_of(values_of_one))
            assert all(set(node) == {"kind", "id", "said", "children"} for node in nodes)
            expected = list(all_of((*item.up, *item.down)))
            assert [(node["kind"], node["id"]) for node in nodes] == [(node.kind, node.id) for node in expected]
        flat = " ".join(printed(traces, width=10_000).split())
        for node in (node for item in traces for node in all_of((*item.up[:MOST], *item.down[:MOST]))):
            assert line(node)[0] in flat


def test_people_are_shown_a_few_of_many() -> None:
    models = tuple(Node("model", str(number), {"lost": True}) for number in range(MOST + 1_005))
    trace = Trace("bytes", "x", {"copies": 1, "traced": 1}, down=models)
    text = printed([trace])
    assert "model 19:" in text
    assert "model 20:" not in text
    assert "... and 1,005 more" in text
    assert len(as_values("x", [trace])["found"][0]["down"]) == MOST + 1_005
    assert "... and 2 more" in printed([trace] * (MOST + 2))


def test_no_name_breaks_the_screen(tables: Lake) -> None:
    store(tables, [*photos(), *({"image_id": name, "label": name} for name in ODD_NAMES)])
    for name in ODD_NAMES:
        lines = printed([one(tables, name)]).splitlines()
        assert max(map(len, lines)) <= 120
        assert all(character.isprintable() for text in lines for character in text)


def test_what_is_found_is_printed(
    rounds: Rounds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(rounds, monkeypatch, REMOVED) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert f"no longer there at {rounds.second['image_table'].data_version}" in output
    assert f"checkpoint {rounds.first['llava_checkpoint'].metadata['digest']}: trained on it" in output
    assert run(rounds, monkeypatch, REMOVED, "--json") == 0
    assert json.loads(capsys.readouterr().out) == as_values(REMOVED, traces_of(rounds.tables, REMOVED))


@pytest.mark.parametrize(
    ("what", "near"),
    [
        ("OL/10.PNG", "near it: 'pool/10.png'"),
        ("label:pool/10.pn", "near it: 'pool/10.png'"),
        ("it's no such thing", "it may be"),
    ],
)
def test_what_is_not_found_is_one_sentence(
    rounds: Rounds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str, near: str
) -> None:
    assert run(rounds, monkeypatch, what) == 1
    captured = capsys.readouterr()
    assert (captured.out, len(captured.err.splitlines())) == ("", 1)
    assert captured.err.startswith(f"mm-assets: nothing in the lake {rounds.tables.root} (MM_LAKE) is called {what!r}")
    for words in (near, "label:pool/1.jpg", "images:2b23c4@v4"):
        assert words in captured.err


def test_a_name_that_is_no_text_is_not_found_in_one_sentence(
    rounds: Rounds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(rounds, monkeypatch, os.fsdecode(b"no such \xe9.png")) == 1
    captured = capsys.readouterr().err
    assert captured.startswith(f"mm-assets: nothing in the lake {rounds.tables.root} (MM_LAKE) is called 'no such ")
    assert "\\xe9.png'" in captured


def test_the_json_of_a_name_that_is_no_text_is_text(
    tables: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tables, [*photos(), {"image_id": "caf\\xe9.png", "label": "pool"}])
    monkeypatch.setenv("MM_LAKE", tables.root)
    assert main(["trace", os.fsdecode(b"caf\xe9.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["what"] == "caf\\xe9.png"


def test_a_version_that_is_none_is_told_its_neighbours(
    rounds: Rounds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, _, version = rounds.second["image_table"].data_version.rpartition("@v")
    assert run(rounds, monkeypatch, f"{place}@v3") == 1
    assert f"near it: {place}@v2, {place}@v4;" in capsys.readouterr().err
    assert run(rounds, monkeypatch, f"{place}@v{int(version) + 1_000}") == 1


def test_an_empty_lake_has_nothing(tmp_path: Path) -> None:
    process = Project(tmp_path / "lake", "drawn", tmp_path / "home").command("trace", "x", module="mm-assets")
    assert (process.returncode, process.stdout) == (1, "")
    assert "nothing was materialized in it yet" in process.stderr
    assert not (tmp_path / "lake").exists()


def test_wrong_settings_and_an_unreadable_lake_are_one_line(tmp_path: Path) -> None:
    wrong = Project(tmp_path / "lake", "drawn", tmp_path / "home", {"MM_TRAIN__EPOCHS": "-3"})
    process = wrong.command("trace", "x", module="mm-assets")
    assert (process.returncode, len(process.stderr.splitlines())) == (2, 1)
    (tmp_path / "broken" / "lineage.lance" / "_versions").mkdir(parents=True)
    (tmp_path / "broken" / "lineage.lance" / "_versions" / "1.manifest").write_bytes(b"nothing")
    process = Project(tmp_path / "broken", "drawn", tmp_path / "home").command("trace", "x", module="mm-assets")
    assert process.returncode == 2
    assert process.stderr.startswith(f"mm-assets: the lake {tmp_path / 'broken'} (MM_LAKE) cannot be read:")


def test_nothing_heavy_is_imported(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_LAKE", rounds.tables.root)
    for what in (ORIGINAL, rounds.second["batch_predictions"].data_version):
        subprocess.run([sys.executable, "-c", LIGHT, what], check=True, stdout=subprocess.DEVNULL)
