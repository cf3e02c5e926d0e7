"""The rooms of the house: who may import whom, how large a folder may be, and that each says what it is for."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "mm_assets"
MOST_FILES = 14
FOLDERS = sorted(
    init.parent.relative_to(ROOT)
    for name in (PACKAGE, "mm_assets_tests", "bench")
    for init in (ROOT / name).rglob("__init__.py")
)

Graph = Mapping[str, set[str]]


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """Every import of the package, also those inside functions and those for type checkers alone."""
    return grimp.build_graph(PACKAGE, include_external_packages=True, cache_dir=None)


def files_of(imports: grimp.ImportGraph) -> Graph:
    own = {name for name in imports.modules if name.split(".")[0] == PACKAGE}
    return {name: imports.find_modules_directly_imported_by(name) & own for name in own}


def siblings_of(files: Graph, folder: str) -> Graph:
    """What stands in a folder, files and folders alike, and which of these import which."""

    def sibling(name: str) -> str | None:
        return ".".join(name.split(".")[: folder.count(".") + 2]) if name.startswith(f"{folder}.") else None

    found: dict[str, set[str]] = {}
    for name, imported in files.items():
        if (own := sibling(name)) is not None:
            found.setdefault(own, set()).update(other for other in map(sibling, imported) if other not in (None, own))
    return found


def circles(graph: Graph) -> list[list[str]]:
    """The groups whose members all reach each other."""
    reached = {name: reachable(graph, name) for name in graph}
    groups = {
        frozenset({other for other in reached[name] if name in reached[other]})
        for name in graph
        if name in reached[name]
    }
    return sorted(sorted(group) for group in groups)


def reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph.get(name, ())
    return seen


def test_a_circle_is_seen() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(graph) == [["b", "c"], ["d", "e"]]
    files = {"p.x.a": {"p.y.b"}, "p.y.c": {"p.x.a"}, "p.y.b": {"p.z"}, "p.z": set[str]()}
    assert circles(files) == []
    assert circles(siblings_of(files, "p")) == [["p.x", "p.y"]]


def test_no_files_import_each_other_in_a_circle(imports: grimp.ImportGraph) -> None:
    assert circles(files_of(imports)) == []


def test_no_folders_import_each_other_in_a_circle(imports: grimp.ImportGraph) -> None:
    files = files_of(imports)
    folders = [name for name in files if imports.find_children(name)]
    assert {folder: found for folder in folders if (found := circles(siblings_of(files, folder)))} == {}


# A line for a file, and the contract that it breaks.
BREACHES = {
    "Imports go down only": ("engines/lake/commits.py", "import mm_assets.history.rows"),
    "Inside engines": ("engines/workers/pool.py", "import mm_assets.engines.lake.tables"),
    "A stage reads only what comes before it": ("stages/ingest/job.py", "import mm_assets.stages.score.job"),
    "Of another stage only its tables.py": ("stages/predict/plan.py", "import mm_assets.stages.ingest.plan"),
    "know no Dagster": ("stages/score/plan.py", "import dagster"),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What the contract says of a copy of the package in which each rule is broken once, inside a function."""
    folder = tmp_path_factory.mktemp("broken")
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(ROOT / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    for file, line in BREACHES.values():
        path = folder / PACKAGE / file
        path.write_text(f"{path.read_text()}\n\ndef later() -> None:\n    {line}\n")
    return contract(folder)


def contract(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"COLUMNS": "1000"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_contract_holds() -> None:
    found = contract(ROOT)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("name", BREACHES)
def test_the_contract_can_fail(broken: subprocess.CompletedProcess[str], name: str) -> None:
    assert broken.returncode == 1
    (line,) = [line for line in broken.stdout.splitlines() if name in line and re.search(r"(KEPT|BROKEN)", line)]
    assert "BROKEN" in line


def test_of_a_stage_only_the_declarations_know_dagster(imports: grimp.ImportGraph) -> None:
    declarations = {"assets", "checks"}
    working = [
        name
        for name in imports.find_descendants(f"{PACKAGE}.stages")
        if not imports.find_children(name) and name.rpartition(".")[2] not in declarations
    ]
    assert len(working) > 40
    assert [name for name in working if imports.chain_exists(name, "dagster")] == []


def test_what_dagster_keeps_private_is_used_in_one_file() -> None:
    private = re.compile(r"\bdagster(\.\w+)*\._\w+")
    users = [
        path.relative_to(ROOT) for path in sorted((ROOT / PACKAGE).rglob("*.py")) if private.search(path.read_text())
    ]
    assert users == [Path(PACKAGE, "steps", "dagster_private.py")]


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_a_room_says_what_it_is_for(folder: Path) -> None:
    said = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text()))
    assert said, f"{folder}/__init__.py: what the room is for, and what may enter"
    lines = [line for line in said.splitlines() if line.strip()]
    assert len(lines) in ((2, 3) if folder.parts[0] in (PACKAGE, "bench") else (1, 2, 3))


def test_no_room_is_a_drawer() -> None:
    sizes = {
        str(folder): len(list((ROOT / folder).glob("*.py")))
        for folder in FOLDERS
        if folder.parts[0] in (PACKAGE, "bench")
    }
    assert {folder: size for folder, size in sizes.items() if size > MOST_FILES} == {}
