"""Which table each asset writes: of the commits of a table only its own assets' are a step's."""

TABLES = {
    "raw_images": "objects",
    "image_table": "images",
    "sft_dataset": "sft",
    "base_model": "models",
    "llava_checkpoint": "models",
    "evaluation": "evaluations",
    "batch_predictions": "predictions",
    "serving_bundle": "bundles",
}
SCORES = "scores/"


def table_of(asset: str) -> str:
    """The Lance table that an asset writes.

    Raises:
        KeyError: it is no asset of this project.
    """
    table = owned_table(asset)
    if table is None:
        raise KeyError(asset)
    return table


def owned_table(asset: str) -> str | None:
    """The same; None for what is no asset of this project."""
    return "images" if asset.startswith(SCORES) else TABLES.get(asset)
