"""What the assets are given: the lake, the Ray cluster, the source of the images."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, PrivateAttr

from mm_assets.settings import DRAWN

if TYPE_CHECKING:
    from mm_assets.engines.lance_tables import LakeTables
    from mm_assets.engines.object_store import FolderSource
    from mm_assets.engines.ray_tasks import Cluster

# The project's own pictures are drawn once, here, where the project is run.
DRAWN_FOLDER = "drawn_photos"


class Lake(dg.ConfigurableResource):
    """The folder of the Lance tables and the models; everything in it is found from this root."""

    root: str = Field(description="Folder of the lake (MM_LAKE).")

    def tables(self) -> "LakeTables":
        """The lake as jobs and workers see it."""
        from mm_assets.engines.lance_tables import LakeTables

        return LakeTables(self.root)


class ImageSource(dg.ConfigurableResource):
    """Where the images come from."""

    source: str = Field(description="Folder of images, or `drawn` (MM_SOURCE).")

    def open(self) -> "FolderSource":
        """The source, ready to be listed and read; the drawn pictures are drawn where they are missing."""
        from mm_assets.engines.object_store import FolderSource

        if self.source != DRAWN:
            return FolderSource(self.source)
        from mm_assets.demo.pictures import draw_folder

        return FolderSource(str(draw_folder(Path(DRAWN_FOLDER).resolve())))

    def identity(self) -> str:
        """A digest of what the source is: a lake belongs to one source, and stores no absolute path."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:16]


class RayCluster(dg.ConfigurableResource):
    """Ray, started in place or joined by address, at its first use in a run: a run with nothing to do starts none."""

    address: str | None = Field(None, description="Address of an existing cluster (MM_RAY_ADDRESS).")
    _cluster: "Cluster | None" = PrivateAttr(default=None)

    def cluster(self) -> "Cluster":
        """The cluster of this run."""
        from mm_assets.engines.ray_tasks import Cluster

        if self._cluster is None:
            self._cluster = Cluster(self.address)
        return self._cluster

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Leave the cluster when the run ends."""
        if self._cluster is not None:
            self._cluster.shutdown()
