"""From a source to a Lance table of images: the listing, then the bytes."""

import dagster as dg

from mm_assets.catalog import IMAGE_TABLE, RAW_IMAGES
from mm_assets.lineage.columns import TableColumns
from mm_assets.resources import ImageSource, LakeResource, RayCluster, RetryConfig
from mm_assets.settings import Reads, Settings
from mm_assets.steps.keys import asset_key
from mm_assets.steps.materialize import materialize

READS: Reads = {IMAGE_TABLE.key: lambda settings: [settings.ingest.limits(), settings.ingest.on_removed]}


@dg.asset(key=asset_key(RAW_IMAGES), code_version="2", kinds={"lance"})
def raw_images(
    context: dg.AssetExecutionContext, lake: LakeResource, image_source: ImageSource
) -> dg.MaterializeResult:
    """The listing of the source: every object with its uri, etag, size and label, without its bytes.

    Objects are listed whatever their name is. A line of a manifest that cannot be used is listed with an `error`.
    """
    from mm_assets.stages.ingest.job import list_objects
    from mm_assets.stages.ingest.previews import previews
    from mm_assets.stages.ingest.tables import OBJECTS_COLUMNS

    source = image_source.open()
    result = materialize(
        context,
        lake,
        lambda step: list_objects(step, lake.tables(), source, image_source.identity()),
        previews,
        columns={RAW_IMAGES.key: OBJECTS_COLUMNS},
    )
    # For the UI only: a lake stores no place outside itself.
    place = dg.MetadataValue.md(f"`{source.place}`")
    return result._replace(metadata={"source": place, **(result.metadata or {})})


def image_table_asset(columns: TableColumns) -> dg.AssetsDefinition:
    """Declare the image table; `columns` includes those that scorers add, because its page shows the whole table."""

    @dg.asset(
        key=asset_key(IMAGE_TABLE),
        deps=[asset_key(RAW_IMAGES)],
        code_version="1",
        kinds={"lance", "ray"},
    )
    def image_table(
        context: dg.AssetExecutionContext,
        config: RetryConfig,
        lake: LakeResource,
        ray_cluster: RayCluster,
        image_source: ImageSource,
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult:
        """One row per object: the image's bytes (blob v2), its digest, format, size and label.

        Every image is decoded in full, under limits of bytes, pixels, time and memory. An object that cannot be used
        has a row with a null image and an `error` that names the reason. Only new or changed objects are read.
        """
        from mm_assets.stages.ingest.job import store_images
        from mm_assets.stages.ingest.previews import previews

        return materialize(
            context,
            lake,
            lambda step: store_images(
                step,
                lake.tables(),
                ray_cluster.cluster(),
                image_source.open(),
                settings.ingest,
                retry_errors=config.retry_errors,
            ),
            previews,
            columns=columns,
        )

    return image_table
