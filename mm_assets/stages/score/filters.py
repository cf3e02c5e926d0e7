"""Filters for usable rows and computed cells, and the cells whose other inputs changed since."""

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.lineage.refs import LanceRef
from mm_assets.scoring import Scorer
from mm_assets.stages.score.cells import digest_of

if TYPE_CHECKING:
    import lance


def usable_at(images: LanceRef) -> str:
    """A filter, for this and later versions: the usable images of a version of the image table."""
    return f"error is null and _row_created_at_version <= {images.version}"


def is_current(scorer: Scorer) -> str:
    """A filter: cells computed at the scorer's revision, with a value, null or an error."""
    return f"{scorer.rev_column} = '{scorer.revision}'"


def has_failed(scorer: Scorer) -> str:
    """A filter: cells computed at the scorer's revision, with an error."""
    return f"{scorer.error_column} is not null and {is_current(scorer)}"


def changed_beside(pinned: "lance.LanceDataset", head: "lance.LanceDataset", scorer: Scorer, since: str) -> pa.Array:
    """Row ids of cells at the scorer's revision that were computed from other values than the pinned version has.

    Each cell keeps a digest of the values of `reads`. The table's versions would not be enough: a step may be cut off
    after some cells, and a label may be changed and changed back.

    Args:
        pinned: the version of the image table that the scores answer for.
        head: its newest version, which has the cells.
        scorer: a scorer with `reads`.
        since: condition in SQL that leaves out rows unchanged since the last pass; "" where there was none.
    """
    cells = head.scanner(columns=[scorer.read_column], filter=is_current(scorer), with_row_id=True).to_table()
    rows = pinned.scanner(columns=list(scorer.reads), filter=f"error is null{since}", with_row_id=True).to_table()
    digests = cells[scorer.read_column].take(pc.index_in(rows["_rowid"], cells["_rowid"]))
    values = zip(*(rows[name].to_pylist() for name in scorer.reads), strict=True)
    now = pa.chunked_array([[digest_of(each) for each in values]], pa.string())
    # A row without a cell at this revision (null here) is computed anyway.
    return rows["_rowid"].filter(pc.fill_null(pc.not_equal(digests, now), False)).combine_chunks()
