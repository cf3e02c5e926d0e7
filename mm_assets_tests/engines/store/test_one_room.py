"""Folder or bucket: the question is asked in `engines/store`, and in no other room."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mm_assets

PACKAGE = Path(mm_assets.__file__).parent
# The room itself; the settings, whose parser refuses what is neither; a source in a bucket, which is one of its kinds.
ASKS = ("engines/store/",)
PARSES = ("settings/",)
IS_A_BUCKET = ("engines/sources/bucket.py", "engines/sources/s3_objects.py")
# What only somebody needs who knows that it is a bucket, or asks whether it is.
QUESTIONS = {"is_s3", "split", "listed", "client", "filesystem", "storage_options", "Bucket", "Folder", "S3"}
ROOMS = ("mm_assets.engines.store", "mm_assets.settings")
SCHEMES = ("s3:", "s3://")


def questions_in(source: str) -> Iterator[str]:
    """Where a source text asks whether a place is a bucket, or speaks to one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(ROOMS):
            names = QUESTIONS & {item.name for item in node.names}
            yield from (f"{node.lineno}: imports {name}" for name in sorted(names))
        elif isinstance(node, ast.Import) and any(item.name.startswith("boto") for item in node.names):
            yield f"{node.lineno}: imports boto3"
        elif isinstance(node, ast.Constant) and node.value in SCHEMES:
            yield f"{node.lineno}: compares with {node.value}, or makes a uri of it"
        elif isinstance(node, ast.Compare) and _asks_for_options(node):
            yield f"{node.lineno}: asks for Lance's options"


def _asks_for_options(node: ast.Compare) -> bool:
    return isinstance(node.left, ast.Attribute) and node.left.attr == "options"


def outside(folder: Path) -> list[Path]:
    exempt = (*ASKS, *PARSES, *IS_A_BUCKET)
    return [path for path in sorted(folder.rglob("*.py")) if not path.relative_to(folder).as_posix().startswith(exempt)]


def test_nobody_else_asks_whether_a_place_is_a_bucket() -> None:
    files = outside(PACKAGE)
    assert len(files) > 100
    questions = [f"{path.relative_to(PACKAGE)}:{line}" for path in files for line in questions_in(path.read_text())]
    assert questions == []


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("from mm_assets.engines.store.s3 import is_s3", "imports is_s3"),
        ("from mm_assets.engines.store.s3 import client", "imports client"),
        ("from mm_assets.engines.store.bucket import Bucket", "imports Bucket"),
        ("from mm_assets.settings.section import S3", "imports S3"),
        ("import boto3", "imports boto3"),
        (
            "def f(place: str) -> bool:\n    return place.startswith('s3://')",
            "compares with s3://, or makes a uri of it",
        ),
        ("def f(bucket: str) -> str:\n    return f's3://{bucket}/x'", "compares with s3://, or makes a uri of it"),
        ("def f(lake):\n    return lake.options is None", "asks for Lance's options"),
    ],
)
def test_the_question_is_noticed(source: str, says: str) -> None:
    assert [line.partition(": ")[2] for line in questions_in(source)] == [says]


def test_a_sentence_about_uris_is_no_question() -> None:
    assert list(questions_in("def f() -> None:\n    raise ValueError('an s3 uri is s3://bucket/key')")) == []
