"""Which rows count, which cells are computed, and which were computed from other values than the row has now."""

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.lineage.refs import LanceRef
from mm_assets.scoring import Scorer
from mm_assets.stages.score.cells import digest_of

if TYPE_CHECKING:
    import lance


def usable_at(images: LanceRef) -> str:
    """A filter, also of later versions: usable images that a version of the image table has."""
    return f"error is null and _row_created_at_version <= {images.version}"


def is_current(scorer: Scorer) -> str:
    """A filter: the cell is computed at the scorer's revision, be it a value, null or an error."""
    return f"{scorer.rev_column} = '{scorer.revision}'"


def has_failed(scorer: Scorer) -> str:
    """A filter: the cell is computed at the scorer's revision, and is an error."""
    return f"{scorer.error_column} is not null and {is_current(scorer)}"


def changed_beside(pinned: "lance.LanceDataset", head: "lance.LanceDataset", scorer: Scorer, since: str) -> pa.Array:
    """Row ids of cells at the scorer's revision that were computed from other columns than the pinned version has.

    Each cell keeps a digest of what it was computed from. That also holds where a step was cut off after some cells,
    and where a label was changed and changed back: the versions of the table could not tell.

    Args:
        pinned: the version of the image table that the scores answer for.
        head: its newest version, which has the cells.
        scorer: that reads other columns.
        since: leaves out rows in SQL that the last pass has seen as they are; "" where there was none.
    """
    cells = head.scanner(columns=[scorer.read_column], filter=is_current(scorer), with_row_id=True).to_table()
    rows = pinned.scanner(columns=list(scorer.reads), filter=f"error is null{since}", with_row_id=True).to_table()
    digests = cells[scorer.read_column].take(pc.index_in(rows["_rowid"], cells["_rowid"]))
    values = zip(*(rows[name].to_pylist() for name in scorer.reads), strict=True)
    now = pa.chunked_array([[digest_of(each) for each in values]], pa.string())
    # A row without a cell at this revision (null here) is computed anyway.
    return rows["_rowid"].filter(pc.fill_null(pc.not_equal(digests, now), False)).combine_chunks()
