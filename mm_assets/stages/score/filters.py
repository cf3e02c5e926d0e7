"""Filters of the image table, in SQL: which rows count, and which cells are computed."""

from mm_assets.lineage.refs import LanceRef
from mm_assets.scoring import Scorer


def usable_at(images: LanceRef) -> str:
    """A filter, also of later versions: usable images that a version of the image table has."""
    return f"error is null and _row_created_at_version <= {images.version}"


def is_current(scorer: Scorer) -> str:
    """A filter: the cell is computed at the scorer's revision, be it a value, null or an error."""
    return f"{scorer.rev_column} = '{scorer.revision}'"


def has_failed(scorer: Scorer) -> str:
    """A filter: the cell is computed at the scorer's revision, and is an error."""
    return f"{scorer.error_column} is not null and {is_current(scorer)}"
