"""From a source to a Lance table of images: the listing, then the bytes."""

import dagster as dg

from mm_assets.resources import ImageSource, LakeResource, RayCluster, RetryConfig
from mm_assets.settings import Settings
from mm_assets.steps.materialize import materialize


@dg.asset(group_name="ingest", code_version="2", kinds={"lance"}, owners=["team:data"])
def raw_images(
    context: dg.AssetExecutionContext, lake: LakeResource, image_source: ImageSource
) -> dg.MaterializeResult:
    """The listing of the source: every object with its uri, etag, size and label, whatever its name; never the bytes.

    A line of a manifest that cannot be used is listed with an `error`.
    """
    from mm_assets.stages.ingest.job import list_objects
    from mm_assets.stages.ingest.previews import previews

    source = image_source.open()
    result = materialize(
        context,
        lake,
        lambda step: list_objects(step, lake.tables(), source, image_source.identity()),
        previews,
    )
    # For the UI alone: a lake stores no place outside itself.
    place = dg.MetadataValue.md(f"`{source.place}`")
    return result._replace(metadata={"source": place, **(result.metadata or {})})


@dg.asset(
    group_name="ingest",
    deps=[raw_images],
    code_version="1",
    kinds={"lance", "ray"},
    owners=["team:data"],
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

    Every image is decoded in full under limits of bytes, pixels, time and memory. An object that cannot be used is a
    row with a null image and an `error` that names the reason. Only objects that are new or changed are read.
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
    )
