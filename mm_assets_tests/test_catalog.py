"""The catalog is the one place that names assets: it says what the graph has, and the core spells none of the names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mm_assets import catalog
from mm_assets.definitions import build
from mm_assets.settings import load_settings
from mm_assets.stages.curate.checks import BEFORE_PUBLICATION

PACKAGE = Path(catalog.__file__).parent
CORE = ("lineage", "history", "steps", "engines", "judging")
# Keys of assets, and what keys of a family begin with.
KEYS = sorted({row.key.removesuffix("*") for row in catalog.ASSETS})
GROUPS = {row.group for row in catalog.ASSETS}


def words_of(source: str) -> Iterator[tuple[int, str, bool]]:
    """Line, text and whether it is a string (a docstring too), of every name and string of a module."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(text)):
                yield node.lineno, text, True
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.alias(name=text) | ast.arg(arg=text):
                yield node.lineno, text, False
            case ast.FunctionDef(name=text) | ast.ClassDef(name=text) | ast.keyword(arg=str(text)):
                yield getattr(node, "lineno", 0), text, False


def named_assets(source: str) -> list[tuple[int, str]]:
    """Lines of a module that spell an asset's key, or that have the name of a group as a string."""
    keys = re.compile("|".join(rf"(?<![\w/]){re.escape(key)}(?!\w)" if key[-1] != "/" else key for key in KEYS))
    return [
        (line, text)
        for line, text, is_string in words_of(source)
        if keys.search(text) or (is_string and text in GROUPS) or (not is_string and text.lower() in KEYS)
    ]


@pytest.mark.parametrize("room", CORE)
def test_the_core_spells_no_asset(room: str) -> None:
    found = {str(path): named_assets(path.read_text()) for path in sorted((PACKAGE / room).rglob("*.py"))}
    assert len(found) > 3
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_a_name_that_is_spelled_would_be_found() -> None:
    assert named_assets('MAKERS = {"base_model"}') == [(1, "base_model")]
    assert named_assets('def of(record):\n    """Of `sft_dataset`."""') == [(2, "Of `sft_dataset`.")]
    assert named_assets('asset.startswith("scores/")') == [(1, "scores/")]
    assert named_assets("from mm_assets.catalog import EVALUATION") == [(1, "EVALUATION")]
    assert named_assets('row.group == "predict"') == [(1, "predict")]
    assert named_assets('base_models = scores(evaluations, "predict.engine")') == []


def test_the_catalog_needs_nothing_of_the_project() -> None:
    tree = ast.parse(Path(catalog.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {node.module for node in imports if isinstance(node, ast.ImportFrom)} == {"collections.abc", "dataclasses"}
    assert not [node for node in imports if isinstance(node, ast.Import)]


def test_every_asset_has_its_row_and_every_row_its_asset() -> None:
    specs = {spec.key.to_user_string(): spec for spec in build(load_settings()).resolve_all_asset_specs()}
    rows = {key: catalog.asset_of(key) for key in specs}
    assert set(rows.values()) == set(catalog.ASSETS)
    for key, spec in specs.items():
        assert (spec.group_name, list(spec.owners)) == (rows[key].group, list(rows[key].owners)), key
    assert {path.name for path in (PACKAGE / "stages").iterdir() if (path / "assets.py").exists()} == GROUPS


def test_a_row_names_the_checks_that_hold_a_published_version_off_its_readers() -> None:
    graph = build(load_settings()).resolve_asset_graph()
    before = {spec.name for spec in BEFORE_PUBLICATION}
    found: dict[str, set[str]] = {key.to_user_string(): set() for key in graph.materializable_asset_keys}
    for check in graph.asset_check_keys:
        if graph.get(check).blocking and check.name not in before:
            found[check.asset_key.to_user_string()].add(check.name)
    assert found == {key: {*catalog.asset_of(key).blocking_checks, catalog.LINEAGE_VERIFIED} for key in found}


def test_an_asset_is_found_by_its_own_row_before_its_family() -> None:
    assert catalog.asset_of("scores/near_duplicates") is catalog.NEAR_DUPLICATES
    assert catalog.asset_of("scores/watermark") is catalog.SCORES
    assert catalog.SCORES.member("watermark") == "scores/watermark"
    assert catalog.find_asset("somebody_elses") is None
    with pytest.raises(KeyError, match=r"somebody_elses has no row in mm_assets/catalog\.py"):
        catalog.table_of("somebody_elses")


def test_a_tables_state_is_shown_where_its_rows_are_written() -> None:
    shown = {table: catalog.writer_of(table) for table in catalog.TABLES}
    assert shown["images"] == "image_table"
    assert shown["models"] == "llava_checkpoint"
    assert None not in shown.values()
    assert catalog.writer_of("lineage") is None


def stage_imports() -> Iterator[tuple[str, str]]:
    """Stages by the stages whose tables they read."""
    for path in (PACKAGE / "stages").rglob("*.py"):
        for other in re.findall(r"mm_assets\.stages\.(\w+)", path.read_text()):
            yield path.relative_to(PACKAGE / "stages").parts[0], other


def test_a_stage_reads_the_tables_of_stages_that_come_before_it() -> None:
    order = list(dict.fromkeys(row.group for row in catalog.ASSETS))
    assert [(stage, other) for stage, other in stage_imports() if order.index(other) > order.index(stage)] == []
