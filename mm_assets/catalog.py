"""The catalog: one row for each asset, in flow order, with its key, table, owners and capabilities.

Asset names are written here alone. Lineage, history, steps and engines spell none: they read a row's capabilities.
"""

from collections.abc import Callable
from dataclasses import dataclass

# The check that every asset has.
LINEAGE_VERIFIED = "lineage_verified"
_ANY = "*"


@dataclass(frozen=True)
class Asset:
    """A row of the catalog.

    Args:
        key: its key in Dagster. A key that ends with `/*` is a family: the profile names its members.
        group: its group in Dagster's UI, and the name of its stage's folder.
        table: the Lance table that it writes.
        owners: its owners in Dagster's UI.
        adds_columns: whether it fills columns of rows that another asset wrote.
        mixes_versions: whether the diamond rule spares it: one input may be made from older images than another.
        registers_models: whether its records name the digest of a model in the registry.
        trains: whether a run trains, which is expensive. A sensor of its own requests it, and retention keeps what a
            live version was made from.
        promotes: whether its records say which model is in production.
        result_of_past: whether another run would not repair what somebody else wrote into its table, and might train.
        blocking_checks: names of its blocking checks that run after publication, besides `lineage_verified`.
    """

    key: str
    group: str
    table: str
    owners: tuple[str, ...]
    adds_columns: bool = False
    mixes_versions: bool = False
    registers_models: bool = False
    trains: bool = False
    promotes: bool = False
    result_of_past: bool = False
    blocking_checks: tuple[str, ...] = ()

    def member(self, name: str) -> str:
        """The key of one member of the family."""
        return self.key.removesuffix(_ANY) + name

    def includes(self, key: str) -> bool:
        """Whether a key names a member of the family."""
        return self.key.endswith(_ANY) and key.startswith(self.key.removesuffix(_ANY))


DATA, ML = ("team:data",), ("team:ml",)

RAW_IMAGES = Asset("raw_images", "ingest", "objects", DATA)
IMAGE_TABLE = Asset("image_table", "ingest", "images", DATA)
SCORES = Asset("scores/*", "score", "images", DATA, adds_columns=True, blocking_checks=("coverage", "error_budget"))
NEAR_DUPLICATES = Asset(
    "scores/near_duplicates", "score", "images", DATA, adds_columns=True, blocking_checks=("coverage",)
)
BASE_MODEL = Asset("base_model", "base", "models", ML, registers_models=True)
SFT_DATASET = Asset("sft_dataset", "curate", "sft", ML)
LLAVA_CHECKPOINT = Asset(
    "llava_checkpoint", "finetune", "models", ML, registers_models=True, trains=True, result_of_past=True
)
EVALUATION = Asset("evaluation", "evaluate", "evaluations", ML, promotes=True, result_of_past=True)
BATCH_PREDICTIONS = Asset(
    "batch_predictions", "predict", "predictions", ML, mixes_versions=True, blocking_checks=("coverage",)
)
SERVING_BUNDLE = Asset("serving_bundle", "serve", "bundles", ML)

ASSETS = (
    RAW_IMAGES,
    IMAGE_TABLE,
    SCORES,
    NEAR_DUPLICATES,
    BASE_MODEL,
    SFT_DATASET,
    LLAVA_CHECKPOINT,
    EVALUATION,
    BATCH_PREDICTIONS,
    SERVING_BUNDLE,
)
# All tables except the history's, in the same order.
TABLES = tuple(dict.fromkeys(row.table for row in ASSETS))
# A version that failed one of these checks is refused to its readers.
BLOCKING_CHECKS = (*dict.fromkeys(name for row in ASSETS for name in row.blocking_checks), LINEAGE_VERIFIED)


def find_asset(key: str) -> Asset | None:
    """The row of an asset, else the row of its family; None where the project has no such asset."""
    own = next((row for row in ASSETS if row.key == key), None)
    return own or next((row for row in ASSETS if row.includes(key)), None)


def asset_of(key: str) -> Asset:
    """The row of an asset.

    Raises:
        KeyError: the project has no such asset.
    """
    row = find_asset(key)
    if row is None:
        raise KeyError(f"{key} has no row in mm_assets/catalog.py")
    return row


def keys_where(capable: Callable[[Asset], bool]) -> frozenset[str]:
    """Keys of the rows that meet a condition; a family is one row, so its members are not listed."""
    return frozenset(row.key for row in ASSETS if capable(row))


def table_of(key: str) -> str:
    """The Lance table that an asset writes.

    Raises:
        KeyError: the project has no such asset.
    """
    return asset_of(key).table


def owned_table(key: str) -> str | None:
    """The Lance table that an asset writes; None where the project has no such asset."""
    row = find_asset(key)
    return row.table if row else None


def writer_of(table: str) -> str | None:
    """The last asset in flow order that writes rows of a table; its page plots the table's state."""
    writers = [row.key for row in ASSETS if row.table == table and not row.adds_columns]
    return writers[-1] if writers else None
