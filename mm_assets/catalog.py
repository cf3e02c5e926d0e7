"""Every asset once, in the order in which data flows: its name, where it stands, who owns it, and what it may do.

Names live here. Lineage, history, steps and engines spell none: they ask what a row may do.
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
        key: as Dagster shows it. One that ends with `/*` is a family: the profile names its members.
        group: in Dagster's UI; the name of its stage's folder.
        table: the Lance table that it writes.
        owners: as Dagster shows them.
        adds_columns: it fills columns of rows that another asset has written.
        mixes_versions: one of its inputs may have seen older images than the others.
        registers_models: a record of it names the digest of a model in the registry.
        trains: a run is dear: a sensor of its own asks for it, and retention keeps what a live one was made from.
        promotes: its records say which model is in production.
        result_of_past: a run would not repair what somebody else wrote into its table, and might train.
        blocking_checks: names of those that run after publication, besides `lineage_verified`.
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
        """Key of a member of the family."""
        return self.key.removesuffix(_ANY) + name

    def includes(self, key: str) -> bool:
        """Whether a key is that of a member of the family."""
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
# All tables but the history's, in the same order.
TABLES = tuple(dict.fromkeys(row.table for row in ASSETS))
# The checks that hold a version off its readers.
BLOCKING_CHECKS = (*dict.fromkeys(name for row in ASSETS for name in row.blocking_checks), LINEAGE_VERIFIED)


def find_asset(key: str) -> Asset | None:
    """The row of an asset, its own before that of its family; None for what is no asset of this project."""
    own = next((row for row in ASSETS if row.key == key), None)
    return own or next((row for row in ASSETS if row.includes(key)), None)


def asset_of(key: str) -> Asset:
    """The row of an asset.

    Raises:
        KeyError: it is no asset of this project.
    """
    row = find_asset(key)
    if row is None:
        raise KeyError(f"{key} has no row in mm_assets/catalog.py")
    return row


def keys_where(capable: Callable[[Asset], bool]) -> frozenset[str]:
    """Keys of the assets that may do something; members of a family, which the profile names, are not among them."""
    return frozenset(row.key for row in ASSETS if capable(row))


def table_of(key: str) -> str:
    """The Lance table that an asset writes.

    Raises:
        KeyError: it is no asset of this project.
    """
    return asset_of(key).table


def owned_table(key: str) -> str | None:
    """The same; None for what is no asset of this project."""
    row = find_asset(key)
    return row.table if row else None


def writer_of(table: str) -> str | None:
    """The last asset in flow order that writes rows of a table: on its page the table's state is plotted."""
    writers = [row.key for row in ASSETS if row.table == table and not row.adds_columns]
    return writers[-1] if writers else None
