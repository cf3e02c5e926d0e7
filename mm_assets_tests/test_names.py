"""Names say what a thing is; a participle says only that something happened to it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("mm_assets", "bench", "docs")
PARTICIPLES = {
    *("found", "said", "known", "asked", "gone", "told", "made", "seen"),
    *("wanted", "given", "drawn", "answered", "shown", "stands", "there"),
}


def names_in(code: str) -> Iterator[tuple[int, str]]:
    """The line and the name of every variable, argument, function and class that a file makes."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def participles(code: str) -> list[tuple[int, str]]:
    return [(line, name) for line, name in names_in(code) if name.strip("_") in PARTICIPLES]


def test_no_name_is_a_bare_participle() -> None:
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    by_file = {str(path.relative_to(ROOT)): participles(path.read_text()) for path in paths}
    assert len(by_file) > 200
    assert {path: names for path, names in by_file.items() if names} == {}


def test_a_bare_participle_is_seen() -> None:
    code = "def found(asked):\n    known, record = asked\n    return lambda said: record\nfor there in (): ..."
    assert sorted(participles(code)) == [(1, "asked"), (1, "found"), (2, "known"), (3, "said"), (4, "there")]
