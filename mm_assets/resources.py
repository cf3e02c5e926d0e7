"""The resources of the assets: the lake, the Ray cluster, the source of the images."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, PrivateAttr

from mm_assets.settings import DRAWN, S3Settings

if TYPE_CHECKING:
    from mm_assets.engines.lake.tables import Lake
    from mm_assets.engines.sources.source import Source
    from mm_assets.engines.workers.cluster import Cluster

# The folder in the working directory into which the project's own pictures are drawn once.
DRAWN_FOLDER = "drawn_photos"


class RetryConfig(dg.Config):
    """The run's options for an asset whose rows can fail."""

    retry_errors: bool = Field(False, description="Compute rows again that have failed; they are left alone otherwise.")


class LakeResource(dg.ConfigurableResource):
    """The folder or bucket of the Lance tables and the models."""

    root: str = Field(description="Folder or s3://bucket/prefix of the lake (MM_LAKE).")
    s3: dict[str, Any] = Field(
        default_factory=dict, description="Endpoint, region and addressing of the store (MM_S3)."
    )
    single_writer: bool = Field(False, description="Write without atomic conditional PUTs (MM_SINGLE_WRITER).")

    def tables(self) -> "Lake":
        """The lake for jobs and workers."""
        from mm_assets.engines.lake.tables import Lake

        return Lake(self.root, S3Settings(**self.s3))

    def check_writable(self) -> None:
        """Refuse a store on which two writers could lose each other's commits."""
        if not self.single_writer:
            self.tables().place.require_atomic_puts()


class ImageSource(dg.ConfigurableResource):
    """The source of the images."""

    source: str = Field(description="Folder, s3://bucket/prefix or manifest of images, or `drawn` (MM_SOURCE).")
    s3: dict[str, Any] = Field(
        default_factory=dict, description="Endpoint, region and addressing of the store (MM_S3)."
    )

    def open(self) -> "Source":
        """Open the source; the project's own pictures are drawn first where they are missing."""
        if self.source != DRAWN:
            from mm_assets.engines.sources.opening import open_source

            return open_source(self.source, S3Settings(**self.s3))
        from mm_assets.demo.pictures import draw_folder
        from mm_assets.engines.sources.folder import FolderSource

        return FolderSource(str(draw_folder(Path(DRAWN_FOLDER).resolve())), DRAWN)

    def identity(self) -> str:
        """A digest of the source's setting: a lake stores it to stay with one source, without an absolute path."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:16]


class RayCluster(dg.ConfigurableResource):
    """Ray, started here or joined by address at its first use: a run with nothing to do starts none."""

    address: str | None = Field(None, description="Address of an existing cluster (MM_RAY_ADDRESS).")
    modules: list[str] = Field(default_factory=list, description="Packages of the user's own that workers need.")
    places: list[str] = Field(default_factory=list, description="Source and lake, which every node must see.")
    shared_folders: bool = Field(False, description="Every node sees the folders (MM_SHARED_FOLDERS).")
    _cluster: "Cluster | None" = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Set token authentication for a cluster that is joined; Ray reads the variable only when it is imported."""
        if self.address is not None:
            os.environ.setdefault("RAY_AUTH_MODE", "token")

    def cluster(self) -> "Cluster":
        """The cluster of this run."""
        from mm_assets.engines.workers.cluster import Cluster, ClusterSettings

        if self._cluster is None:
            places = tuple(self.places)
            self._cluster = Cluster(ClusterSettings(self.address, tuple(self.modules), places, self.shared_folders))
        return self._cluster

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Leave the cluster when the run ends."""
        if self._cluster is not None:
            self._cluster.shutdown()
