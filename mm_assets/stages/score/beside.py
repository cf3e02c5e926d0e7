"""What scorers read of a row beside the image, and the cells that were computed from other values than it has now."""

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.scoring import Scorer
from mm_assets.stages.score.cells import digest_of
from mm_assets.stages.score.filters import is_current

if TYPE_CHECKING:
    import lance


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
    known = cells[scorer.read_column].take(pc.index_in(rows["_rowid"], cells["_rowid"]))
    values = zip(*(rows[name].to_pylist() for name in scorer.reads), strict=True)
    now = pa.chunked_array([[digest_of(each) for each in values]], pa.string())
    # A row without a cell at this revision (null here) is computed anyway.
    return rows["_rowid"].filter(pc.fill_null(pc.not_equal(known, now), False)).combine_chunks()
