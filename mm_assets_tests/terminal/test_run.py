"""`make demo` as its user sees it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mm_assets.terminal.quiet import output_into
from mm_assets_tests.kit.project import Project


def demo(project: Project, **more: str) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
    return subprocess.run(
        [sys.executable, "-m", "mm_assets.terminal"],
        env={**environment, **project.environment(), **more},
        cwd=project.home,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.ray
def test_a_run_is_a_line_for_each_asset_and_a_table(modest: Project) -> None:
    done = demo(modest)
    assert (done.returncode, done.stderr) == (0, "")
    lines, table = done.stdout.split("\n\n")
    made = {line.split()[1]: line for line in lines.splitlines() if line.startswith(" ✓")}
    versions = modest.data_versions()
    assert set(made) == set(versions)
    assert all(version in made[asset] and " as before" in made[asset] for asset, version in versions.items())
    rows = table.splitlines()
    assert [row.split()[:2] for row in rows[1:3]] == [[name, versions[name]] for name in ("raw_images", "image_table")]
    assert "left out, each with its reason" in table
    assert rows[-1].startswith(" accuracy on ")
    assert "Warning" not in done.stdout
    assert "RUN_SUCCESS" in (modest.home / "logs" / "demo.log").read_text()


def test_a_failed_step_is_a_sentence_and_says_where_its_trace_is(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    project = Project(tmp_path / "lake", tmp_path / "empty", tmp_path / "home")
    done = demo(project)
    assert done.returncode == 1
    assert done.stderr == ""
    (failure,) = [line for line in done.stdout.splitlines() if line.startswith(" ✗")]
    assert failure.startswith(" ✗ raw_images failed: ")
    assert "there are no objects in" in failure
    assert "Traceback" not in done.stdout
    assert " ✓ base_model" in done.stdout
    assert "the whole trace: logs/demo.log, or run " in done.stdout
    assert "dagster._core.definitions.events.Failure" in (project.home / "logs" / "demo.log").read_text()
    assert " data version " not in done.stdout  # the table is of a run that went well


def test_wrong_settings_are_a_line(tmp_path: Path) -> None:
    project = Project(tmp_path / "lake", "drawn", tmp_path / "home", {"MM_TRAIN__EPOCHS": "-3"})
    done = demo(project)
    assert done.returncode == 2
    assert done.stderr.startswith("make demo: train.epochs (MM_TRAIN__EPOCHS)")
    assert len(done.stderr.splitlines()) == 1


def test_a_home_is_asked_for(tmp_path: Path) -> None:
    done = demo(Project(tmp_path / "lake", "drawn", tmp_path / "home"), DAGSTER_HOME="")
    assert done.returncode == 2
    assert "DAGSTER_HOME" in done.stderr


def test_what_libraries_print_is_in_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "logs" / "demo.log"

    def noisy() -> None:
        with output_into(path) as terminal:
            print("seen", file=terminal, flush=True)
            os.write(2, b"a warning\n")
            subprocess.run([sys.executable, "-c", "print('of a child')"], check=True)
            raise RuntimeError("it ends")

    with pytest.raises(RuntimeError, match="it ends"):
        noisy()
    os.write(2, b"afterwards\n")
    said = capfd.readouterr()
    assert (said.out, said.err) == ("seen\n", "afterwards\n")
    assert {"a warning", "of a child"} <= set(path.read_text().splitlines())
