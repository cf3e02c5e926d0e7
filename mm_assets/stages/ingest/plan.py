"""Plans a pass over `images.lance`: objects to read, rows to remove, labels and captions to write again."""

from collections import Counter
from dataclasses import dataclass, field

import lance
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.catalog import IMAGE_TABLE, RAW_IMAGES
from mm_assets.engines.lake.changes import Changes, changes_since, difference
from mm_assets.engines.lake.rows import rows_by_key
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.sources.source import LISTING, REFUSALS
from mm_assets.history.reuse import outside_versions_since, written_at
from mm_assets.lineage.step import StepContext
from mm_assets.reasons import reasons
from mm_assets.settings import IngestSettings
from mm_assets.stages.ingest.schema import UPDATED_CELLS
from mm_assets.stages.ingest.tables import IMAGES, OBJECTS

ASSET, LISTED = IMAGE_TABLE.key, RAW_IMAGES.key
# Columns taken from the listing. Where one of PLACE differs the object is read; for the others only cells are written.
PLACE, LABEL_AND_CAPTION = ["source_uri", "etag", "error"], ["label", "caption"]


@dataclass(frozen=True)
class IngestPlan:
    """What a pass has to do.

    Args:
        version: version of `images.lance` that the plan was made at.
        considered: number of rows that the table will have.
        read: objects to read: rows of the listing, with `known_rowid` and `known_sha256` of the good row of that key.
        replaced: keys of `read` that have a row already.
        removed: keys whose rows are removed.
        labels_and_captions: cells (see `UPDATED_CELLS`) of rows where only the label or the caption changed.
        failed: number of rejected rows that stay as they are, by reason.
    """

    version: int
    considered: int
    read: pa.Table
    replaced: frozenset[str]
    removed: list[str]
    labels_and_captions: pa.Table
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def empty(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.read.num_rows or self.removed or self.labels_and_captions.num_rows)


def make_plan(
    step: StepContext, lake: Lake, settings: IngestSettings, *, everything: bool, retry_errors: bool
) -> IngestPlan:
    """Compare the pinned listing with the table: the changes since the last time, or every row.

    Every row is compared where somebody outside wrote the table since. The rows that they wrote are read again.

    Args:
        step: the step with its pinned inputs.
        lake: read.
        settings: limits, and what happens to the rows of removed objects.
        everything: compare every row, whatever was compared before.
        retry_errors: read rejected objects again.
    """
    head = lake.open(IMAGES)
    pinned = step.ref(LISTED)
    outside = outside_versions_since(head, step.last_record(ASSET)).get(ASSET, [])
    foreign_keys = written_by_others(head, outside)
    since = None if everything or outside else _listing_compared(step)
    changes = changes_since(lake, pinned, since, LISTING.names, removed=["image_id"])
    judged = _judged_anew(step, head, settings, retry_errors=retry_errors) | foreign_keys
    listed, current, removed = _delta(lake, step, head, changes, judged)
    removed = removed if settings.on_removed == "delete" else []
    moved, _ = difference(
        _as_listed(current).select(["image_id", *PLACE]), listed.select(["image_id", *PLACE]), "image_id"
    )
    to_read = pa.array([*{*moved, *judged}], pa.string())
    read = _with_known(listed.filter(pc.is_in(listed["image_id"], to_read)), current, foreign_keys)
    read_ids = set(read["image_id"].to_pylist())
    replaced = frozenset(current["image_id"].to_pylist()) & read_ids
    rejected = head.to_table(columns=["image_id", "error"], filter="error is not null")
    stays = pc.invert(pc.is_in(rejected["image_id"], pa.array([*read_ids, *removed], pa.string())))
    return IngestPlan(
        version=head.version,
        considered=head.count_rows() - len(removed) + read.num_rows - len(replaced),
        read=read,
        replaced=replaced,
        removed=removed,
        labels_and_captions=labels_and_captions(listed, current, read_ids),
        failed=Counter(reasons(rejected["error"].filter(stays)).to_pylist()),
    )


def _listing_compared(step: StepContext) -> int | None:
    """The version of the listing that the table was last brought up to, by the same code; None where there is none.

    It is also None where a run was cut off since. Rows of that run may be of objects that came and went between two
    listings.
    """
    own, before = step.own[ASSET], step.last_record(ASSET)
    if before is None or before.code_version != step.code_versions[ASSET] or own.last_commit != before.ref:
        return None
    return before.progress.inputs.get(OBJECTS)


def _delta(
    lake: Lake, step: StepContext, head: lance.LanceDataset, changes: Changes | None, judged: set[str]
) -> tuple[pa.Table, pa.Table, list[str]]:
    """Listed objects to compare, the rows of the table with their keys, and keys that are no longer listed."""
    columns = ["image_id", "sha256", *PLACE, *LABEL_AND_CAPTION]
    objects = lake.open_at(step.ref(LISTED))
    if changes is None:
        listed = objects.to_table(columns=LISTING.names)
        current = head.scanner(columns=columns, with_row_id=True).to_table()
        return listed, current, _missing(current["image_id"], listed["image_id"])
    listed = changes.rows.select(LISTING.names)
    more = judged - set(listed["image_id"].to_pylist())
    if more:
        listed = pa.concat_tables(
            [listed, rows_by_key(objects, "image_id", sorted(more), LISTING.names).select(LISTING.names)]
        )
    current = rows_by_key(head, "image_id", listed["image_id"].to_pylist(), columns).select([*columns, "_rowid"])
    return listed, current, _missing(changes.removed["image_id"], listed["image_id"])


def _missing(keys: pa.ChunkedArray, among: pa.ChunkedArray) -> list[str]:
    missing: list[str] = keys.filter(pc.invert(pc.is_in(keys, among))).to_pylist()
    return missing


def _as_listed(current: pa.Table) -> pa.Table:
    """Rows with the errors of the listing only; errors of reading or decoding become null."""
    refused = pc.match_substring_regex(current["error"], f"^({'|'.join(REFUSALS)})")
    errors = pc.if_else(refused, current["error"], pa.scalar(None, pa.string()))
    return current.set_column(current.schema.get_field_index("error"), "error", errors)


def written_by_others(head: lance.LanceDataset, versions: list[int]) -> set[str]:
    """Keys of rows that somebody outside wrote; their values cannot be relied on."""
    if not versions:
        return set()
    return set(head.to_table(columns=["image_id"], filter=written_at(versions))["image_id"].to_pylist())


def _with_known(read: pa.Table, current: pa.Table, foreign_keys: set[str]) -> pa.Table:
    unsure = pc.is_in(current["image_id"], pa.array(sorted(foreign_keys), pa.string()))
    good = current.filter(pc.and_not(pc.is_null(current["error"]), unsure))
    places = pc.index_in(read["image_id"], good["image_id"])
    existing = {f"known_{name.lstrip('_')}": good[name].take(places) for name in ("_rowid", "sha256")}
    for name, values in existing.items():
        read = read.append_column(name, values)
    return read


def labels_and_captions(listed: pa.Table, current: pa.Table, read_ids: set[str]) -> pa.Table:
    """Cells of rows that get another label or caption without reading their bytes."""
    others = current.filter(pc.invert(pc.is_in(current["image_id"], pa.array(list(read_ids), pa.string()))))
    named = listed.filter(pc.is_in(listed["image_id"], others["image_id"]))
    changed, _ = difference(
        others.select(["image_id", *LABEL_AND_CAPTION]), named.select(["image_id", *LABEL_AND_CAPTION]), "image_id"
    )
    cells = named.filter(pc.is_in(named["image_id"], pa.array(changed, pa.string())))
    places = pc.index_in(cells["image_id"], others["image_id"])
    for name in ("sha256", "_rowid"):
        cells = cells.append_column(name, others[name].take(places))
    return cells.select(UPDATED_CELLS.names)


def _judged_anew(
    step: StepContext, head: lance.LanceDataset, settings: IngestSettings, *, retry_errors: bool
) -> set[str]:
    """Keys of rejected rows to retry, and of rows that changed limits may judge differently."""
    before = step.last_record(ASSET)
    conditions = []
    if before is not None and before.metadata.get("limits") != settings.limits().model_dump():
        over = f"num_bytes > {settings.max_bytes} or width * height > {settings.max_pixels}"
        conditions.append(f"error is not null or {over}")
    if retry_errors:
        conditions.append(f"error is not null and not regexp_match(error, '^({'|'.join(REFUSALS)})')")
    keys: set[str] = set()
    for condition in conditions:
        keys |= set(head.to_table(columns=["image_id"], filter=condition)["image_id"].to_pylist())
    return keys
