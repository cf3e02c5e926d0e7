"""The order and the result of a training, as data that travels between the driver and its workers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mm_assets.chat import Message
from mm_assets.engines.lake.images import LanceImages
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.store.s3 import Secrets
from mm_assets.engines.workers.blocking import DriverMailbox
from mm_assets.settings import TrainSettings

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Examples:
    """Chat examples of one split, with their images by id at a pinned version."""

    image_ids: list[list[str]]
    messages: list[list[Message]]
    images: LanceImages

    def __len__(self) -> int:
        return len(self.image_ids)

    def as_dataset(self) -> "datasets.Dataset":
        """A dataset that reads and decodes the images of a batch when the trainer takes it."""
        import datasets

        return datasets.Dataset.from_dict({"row": range(len(self))}).with_transform(self._read)

    def _read(self, batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        rows = batch["row"]
        return {
            "images": [self.images.read(self.image_ids[row]) for row in rows],
            "messages": [self.messages[row] for row in rows],
        }


@dataclass(frozen=True)
class Training:
    """The order for a worker: the base model, the examples, the recipe, and the driver's mailbox."""

    tables: Lake
    base: str
    train: Examples
    validation: Examples
    settings: TrainSettings
    mailbox: DriverMailbox
    secrets: Secrets


@dataclass(frozen=True)
class Trained:
    """The result of a training: digest and bytes of the files that it put into the lake, and its metrics."""

    digest: str
    num_bytes: int
    metrics: dict[str, Any]
