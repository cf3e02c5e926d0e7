"""Two checkouts are compared figure by figure, each by its own script."""

import json
from pathlib import Path

import pytest

from bench.compare import compared, figures_in, main

SCRIPT = """
import json, sys
path = sys.argv[sys.argv.index("--json") + 1]
rows = [{"stage": "ingest", "images": int(sys.argv[sys.argv.index("--size") + 1]), "seconds": SECONDS}]
open(path, "w").write(json.dumps({"growth": rows, "versions": {"ray": "2"}}))
"""


def checkout(folder: Path, seconds: float, *, package: bool) -> Path:
    """A working tree whose one measurement takes so long; scripts of a package, or beside one another."""
    (folder / "bench").mkdir(parents=True)
    (folder / "bench" / "tiny.py").write_text(SCRIPT.replace("SECONDS", str(seconds)))
    if package:
        (folder / "bench" / "__init__.py").touch()
    return folder


def test_two_checkouts_are_compared(tmp_path: Path) -> None:
    before = checkout(tmp_path / "before", 2.0, package=False)
    after = checkout(tmp_path / "after", 3.0, package=True)
    path = tmp_path / "figures.json"
    main([str(before), str(after), "tiny", "--rounds", "2", "--json", str(path), "--size", "10"])
    figures = json.loads(path.read_text())
    (row,) = figures["compared"]
    assert row == {"figure": "growth / ingest / 10 / seconds", "before": 2.0, "after": 3.0, "times": 1.5}
    assert figures["targets"][0]["met"] == "NO"
    assert [len(one) for one in figures["rounds"]] == [2, 2]


def test_a_script_that_fails_ends_the_comparison(tmp_path: Path) -> None:
    broken = checkout(tmp_path / "before", 2.0, package=False)
    (broken / "bench" / "tiny.py").write_text("raise SystemExit('no such lake')")
    with pytest.raises(SystemExit, match="no such lake"):
        main([str(broken), str(broken), "tiny", "--json", str(tmp_path / "figures.json")])


def test_figures_are_named_by_what_stands_beside_them() -> None:
    figures = dict(figures_in({"append": [{"stage": "scores", "seconds": 1, "read_mb": 2.5, "rows_computed": 7}]}))
    assert figures == {"append / scores / seconds": 1.0, "append / scores / read_mb": 2.5}


def test_what_is_too_small_to_tell_is_left_out() -> None:
    assert compared({"a seconds": 0.001, "b seconds": 1.0}, {"a seconds": 0.002, "b seconds": 0.5}) == [
        {"figure": "b seconds", "before": 1.0, "after": 0.5, "times": 0.5}
    ]
