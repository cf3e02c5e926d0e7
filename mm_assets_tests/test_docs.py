"""Documentation: every link, anchor, path and make target that a page names exists."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mm_assets"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "bench/README.md", *(ROOT / "docs").rglob("*.md")]
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
QUOTED = re.compile(r"`([^`\n]+)`")
FENCED_PATH = re.compile(r"(?<![\w./-])\w+(?:/[\w<>.-]+)*/[\w<>-]+\.(?:py|md|ya?ml)\b")
MAKE = re.compile(r"(?<![\w-])make ([a-z][a-z-]*)")
TREE_ENTRY = re.compile(r"^( *)((?:[\w.]+/? )*[\w.]+/?)(?:  +|$)", re.MULTILINE)
SOURCE_FILE = (".py", ".md", ".yaml", ".yml", ".toml", ".txt")
ROOMS = {path.name for path in PACKAGE.iterdir() if path.is_dir()}


def text(page: str) -> str:
    return (ROOT / page).read_text()


def prose(page: str) -> str:
    return FENCE.sub("", text(page))


@cache
def anchors(page: str) -> frozenset[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose(page)))
    return frozenset(heading.strip().replace(" ", "-") for heading in headings)


def broken_link(page: str, target: str) -> bool:
    """Whether a link names a file or an anchor that does not exist."""
    name, _, anchor = target.partition("#")
    path = (ROOT / page).parent / name if name else ROOT / page
    if not path.exists():
        return True
    return bool(anchor) and anchor not in anchors(path.resolve().relative_to(ROOT).as_posix())


def names_a_path(quoted: str) -> bool:
    """Whether a quoted text names a file or folder of the project, not an asset, an option or a place in a lake."""
    if not re.fullmatch(r"[\w.<>*-]+(/[\w.<>*-]+)*/?", quoted):
        return False
    return quoted.endswith(SOURCE_FILE) or (
        "/" in quoted and quoted.split("/")[0] in {"mm_assets_tests", "docs", *ROOMS}
    )


def path_exists(path: str) -> bool:
    """Whether a path exists below the root or the package.

    `<stage>` stands for any name; a bare name may stand in any folder.
    """
    pattern = re.sub(r"<[^>]+>", "*", path.rstrip("/"))
    anywhere = "/" not in pattern
    tops = [PACKAGE, ROOT / "docs", ROOT / "bench"] if anywhere else []
    matches = [base.glob(pattern) for base in (ROOT, PACKAGE)] + [top.rglob(pattern) for top in tops]
    return any(next(match, None) for match in matches)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    targets = [target for target in LINK.findall(prose(page)) if not target.startswith(("http://", "https://"))]
    assert [target for target in targets if broken_link(page, target)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    paths = [quoted for quoted in QUOTED.findall(prose(page)) if names_a_path(quoted)]
    for block in FENCE.findall(text(page)):
        paths += [path for path in FENCED_PATH.findall(block) if path.split("/")[0] in ROOMS]
    assert [path for path in paths if not path_exists(path)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", text("Makefile"), re.MULTILINE))
    commands = [
        *QUOTED.findall(prose(page)),
        *re.findall(r"^make .*$", "\n".join(FENCE.findall(text(page))), re.MULTILINE),
    ]
    assert {target for command in commands for target in MAKE.findall(command)} - targets == set()


def test_every_decision_is_listed() -> None:
    decisions = {path.name for path in (ROOT / "docs/decisions").glob("0*.md")}
    assert decisions - set(LINK.findall(text("docs/decisions/README.md"))) == set()


def tree_of_readme() -> set[str]:
    """The paths that the README's tree names."""
    block = text("README.md").split("## Where things are")[1].split("```")[1]
    paths: set[str] = set()
    parents: dict[int, str] = {-1: ""}
    for indent, names in TREE_ENTRY.findall(block):
        parent = parents[max(depth for depth in parents if depth < len(indent))]
        parents = {depth: path for depth, path in parents.items() if depth < len(indent)}
        paths |= {parent + name for name in names.split()}
        parents[len(indent)] = parent + names.split()[0]
    return paths


def test_the_tree_of_the_readme_is_the_tree_of_the_package() -> None:
    tree = tree_of_readme()
    assert [path for path in sorted(tree) if not (ROOT / path).exists()] == []
    folders = [
        folder for room in (".", "stages", "engines") for folder in (PACKAGE / room).iterdir() if folder.is_dir()
    ]
    rooms = {f"{folder.relative_to(ROOT)}/" for folder in folders if (folder / "__init__.py").exists()}
    assert rooms - tree == set()


@pytest.mark.parametrize(
    ("target", "broken"),
    [
        ("settings.md", False),
        ("no_page.md", True),
        ("#glossary", False),
        ("#no-heading", True),
        ("the_lake.md#glossary", False),
    ],
)
def test_a_broken_link_is_noticed(target: str, broken: bool) -> None:
    assert broken_link("docs/the_lake.md", target) is broken


@pytest.mark.parametrize(
    ("path", "exists"),
    [
        ("engines/lake/commits.py", True),
        ("stages/<stage>/tables.py", True),
        ("engines/lance_commits.py", False),
        ("tables.py", True),
    ],
)
def test_a_path_that_is_gone_is_noticed(path: str, exists: bool) -> None:
    assert names_a_path(path)
    assert path_exists(path) is exists
