"""What can be wrong with a lake after torture: rows lost, doubled or wrong, unreadable tables, work done twice.

A lake is compared with the one of an undisturbed run, and with itself: what was computed from bytes must be what these
bytes give.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import lance
from PIL import Image

from mm_assets.engines.lake.commits import commit_writes_asset, commits_after
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.history import History
from mm_assets.lineage.properties import ASSETS, BATCH, MARK, RUN
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import tag_name
from mm_assets.operations.verify.job import verify
from mm_assets_tests.torture.workers import NAMES, scorer

# The tables of the stages, with their keys.
KEYS = {"objects": "image_id", "images": "image_id", "predictions": "id"}
ASSETS_OF = {
    "objects": ["raw_images"],
    "images": ["image_table", *(f"scores/{name}" for name in NAMES)],
    "predictions": ["batch_predictions"],
}

Rows = dict[str, dict[str, Any]]


@dataclass
class Damage:
    """Sentences on what was found, by kind."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # steps that nobody killed

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def __iadd__(self, other: Self) -> Self:
        for kind, found in vars(other).items():
            getattr(self, kind).extend(found)
        return self

    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return {kind: len(found) for kind, found in vars(self).items()}


def versions(tables: Lake) -> dict[str, int]:
    """The newest version of every table of the stages."""
    return {table: tables.open(table).version for table in KEYS if tables.exists(table)}


def readable(tables: Lake) -> Damage:
    """Whether every table that is there can be read to its last cell, the images' bytes too."""
    damage = Damage()
    for table in (*KEYS, "lineage"):
        try:
            if tables.exists(table):
                _scan(tables.open(table))
        except Exception as error:  # noqa: BLE001  (whatever it is, it is what is looked for)
            damage.unreadable.append(f"{table}: {type(error).__name__}: {error}")
    return damage


def compared(tables: Lake, undisturbed: Lake) -> Damage:
    """The tables of the stages against those of an undisturbed run, cell for cell; row ids and versions excepted."""
    damage = readable(tables)
    if damage.unreadable:
        return damage
    for table in KEYS:
        expected, _ = keyed(undisturbed, table)
        found, doubled = keyed(tables, table)
        damage.doubled += [f"{table}: {key} is there {count} times" for key, count in doubled.items()]
        damage.lost += [f"{table}: {key}" for key in expected if key not in found]
        damage.wrong += [f"{table}: {key} should not be there" for key in found if key not in expected]
        damage.wrong += [
            f"{table}: {key}: {_unlike(found[key], row)}"
            for key, row in expected.items()
            if key in found and found[key] != row
        ]
    return damage


def keyed(tables: Lake, table: str) -> tuple[Rows, dict[str, int]]:
    """Rows by their key, and how often a key is there that is there more than once."""
    rows = _scan(tables.open(table)) if tables.exists(table) else []
    key = KEYS[table]
    times = Counter(row[key] for row in rows)
    return {row[key]: row for row in rows}, {name: count for name, count in times.items() if count > 1}


def _scan(ds: lance.LanceDataset) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ds.scanner(blob_handling="all_binary").to_table().to_pylist()
    return rows


def _unlike(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    names = [name for name in {**found, **expected} if found.get(name) != expected.get(name)]
    return ", ".join(f"{name} is {found.get(name)!r:.80}, not {expected.get(name)!r:.80}" for name in names)


def consistent(tables: Lake) -> Damage:
    """One row per key; every digest, score and answer is what the bytes give that it stands beside."""
    damage = readable(tables)
    if damage.unreadable:
        return damage
    for table in KEYS:
        rows, doubled = keyed(tables, table)
        damage.doubled += [f"{table}: {key} is there {count} times" for key, count in doubled.items()]
        if table == "images":
            damage.wrong += [f"{key}: {reason}" for key, row in rows.items() for reason in _misfits(row)]
        if table == "predictions":
            damage.wrong += [
                f"{row['image_id']}: an answer about other bytes"
                for row in rows.values()
                if row["error"] is None and row["answer"] != row["sha256"]
            ]
    return damage


def _misfits(row: Mapping[str, Any]) -> Iterable[str]:
    data = row["image"]
    if data is None:
        yield from (f"{name} of no image" for name in NAMES if row.get(f"{name}_rev") is not None)
        return
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        yield "sha256 of other bytes"
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    for name in NAMES:
        revision = row.get(f"{name}_rev")
        if revision is not None and (row[name], row[f"{name}_error"]) != _score(name, revision, picture):
            yield f"{name} of other bytes"


def _score(name: str, revision: str, picture: Image.Image) -> tuple[float | int | None, str | None]:
    try:
        return scorer(name, revision).function(picture)[name], None
    except ValueError as error:
        return None, f"ValueError: {error}"


def done_once(tables: Lake, since: Mapping[str, int]) -> Damage:
    """No commit, batch, row or cell of an asset was made twice since the versions at which the source last changed."""
    damage = Damage()
    for table, key in KEYS.items():
        if not tables.exists(table):
            continue
        commits = dict(commits_after(tables.open(table), since.get(table, 0)))
        batches = Counter((found[RUN], found[ASSETS], found[BATCH]) for found in commits.values() if RUN in found)
        marks = Counter(found[MARK] for found in commits.values() if MARK in found)
        twice = [*(batches - Counter(set(batches))), *(marks - Counter(set(marks)))]
        damage.doubled += [f"{table}: committed twice: {what}" for what in twice]
        made = Counter(
            (asset, value)
            for version, found in commits.items()
            for value in _touched(tables.open(table, version), key)
            for asset in found.get(ASSETS, "").split(",")
        )
        damage.doubled += [f"{table}: computed {count} times: {what}" for what, count in made.items() if count > 1]
    return damage


def _touched(ds: lance.LanceDataset, key: str) -> list[str]:
    """Keys of the rows that this version wrote, whole or in part."""
    found: list[str] = ds.to_table(columns=[key], filter=f"_row_last_updated_at_version = {ds.version}")[
        key
    ].to_pylist()
    return found


def recorded(tables: Lake) -> Damage:
    """The last record of every asset names its last commit, which is tagged, and the whole history holds."""
    damage = Damage(wrong=[str(item) for item in verify(tables, lambda line: None).disagreements])
    rows = tables.open("lineage").to_table(columns=["id"])["id"].to_pylist() if tables.exists("lineage") else []
    damage.doubled += [f"lineage: record {name} twice" for name, count in Counter(rows).items() if count > 1]
    history = list(History.read(tables).records.values())
    for table, assets in ASSETS_OF.items():
        if not tables.exists(table):
            continue
        ds = tables.open(table)
        commits = dict(commits_after(ds, 0))
        for asset in assets:
            last = max(
                (version for version, found in commits.items() if commit_writes_asset(found, asset)), default=None
            )
            record = next((r for r in reversed(history) if r.asset == asset), None)
            damage.wrong += [f"lineage: {asset}: {reason}" for reason in _unrecorded(ds, record, last)]
    return damage


def _unrecorded(ds: lance.LanceDataset, record: Record | None, last: int | None) -> Iterable[str]:
    if record is None or last is None:
        if record is not None or last is not None:
            yield f"last commit {last}, record {record}"
        return
    if record.ref.version != last:
        yield f"recorded is version {record.ref.version}, the last commit is {last}"
    tag = ds.tags.list().get(tag_name(record.asset, record.ref.version))
    if tag is None or tag["version"] != record.ref.version:
        yield f"version {record.ref.version} is not tagged"
