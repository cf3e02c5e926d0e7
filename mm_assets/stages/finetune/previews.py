"""Preview of a training: its loss."""

from typing import TYPE_CHECKING

from mm_assets.previews import plots

if TYPE_CHECKING:
    from mm_assets.history.materialized import Materialized


def previews(materialized: "Materialized") -> dict[str, str]:
    """Markdown by name, of a materialization of `llava_checkpoint`; a base model has nothing to show."""
    points = [(row["step"], row["loss"]) for row in materialized.record.metadata.get("loss") or []]
    if not points:
        return {}
    validation = materialized.record.metadata.get("validation_loss")
    level = None if validation is None else ("validation, at the end", float(validation))
    return {"preview_loss": plots.curve("Loss by step", points, level, 10_000)}
