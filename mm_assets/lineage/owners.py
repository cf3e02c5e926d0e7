"""Which table each asset writes: of the commits of a table only its own assets' are a step's."""

TABLES = {
    "raw_images": "objects",
    "image_table": "images",
    "sft_dataset": "sft",
    "base_model": "models",
    "llava_checkpoint": "models",
    "evaluation": "evaluations",
    "batch_predictions": "predictions",
}
SCORES = "scores/"


def owned_table(asset: str) -> str | None:
    """The table that an asset writes; None for what is no asset of this project."""
    return "images" if asset.startswith(SCORES) else TABLES.get(asset)
