"""The sensor that looks at the source."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg
from dagster import AssetKey

from mm_assets.catalog import RAW_IMAGES
from mm_assets.lineage.errors import RefusalError
from mm_assets.operations.automation.debounce import Debounce, Difference, compare
from mm_assets.operations.automation.runs import newest_id, unfinished_run
from mm_assets.resources import ImageSource, LakeResource
from mm_assets.settings import DRAWN, AutomationSettings

if TYPE_CHECKING:
    import pyarrow as pa

LISTING = AssetKey(RAW_IMAGES.key)
# Looks at most so many intervals apart are one watch: a busy machine's ticks are late.
LOOKS = 5


def build(
    settings: AutomationSettings, status: dg.DefaultSensorStatus, clock: Callable[[], float] = time.time
) -> dg.SensorDefinition:
    """Build `source_changed`; `clock` gives seconds since 1970."""

    @dg.sensor(
        target=dg.AssetSelection.assets(LISTING),
        minimum_interval_seconds=settings.source_seconds,
        default_status=status,
    )
    def source_changed(
        context: dg.SensorEvaluationContext, lake: LakeResource, image_source: ImageSource
    ) -> dg.SensorResult | dg.SkipReason:
        """Lists the source again when it differs from its last listing and has become quiet.

        The tick fails where the source cannot be listed; nothing is taken for removed then.
        """
        if image_source.source == DRAWN:
            return dg.SkipReason("the project's own pictures do not change")
        before = Debounce.from_cursor(context.cursor)
        listing = _listing(image_source, context.log.info)
        if not listing.num_rows:
            return _skip(
                before.without_difference(),
                f"there are no objects in {image_source.source}: nothing is taken for removed",
            )
        listed, version = _last_listing(lake)
        difference = compare(listing, listed)
        if not difference:
            return _skip(before.without_difference(), f"{difference.objects:,} objects, nothing changed")
        now = clock()
        debounce = before.after_look(difference, now, in_sight=LOOKS * settings.source_seconds)
        return _decide(context.instance, settings, now, difference, debounce, version)

    return source_changed


def _listing(image_source: ImageSource, say: Callable[[str], None]) -> "pa.Table":
    try:
        return image_source.open().list(say)
    except OSError as error:
        raise RefusalError(f"source (MM_SOURCE): {image_source.source} cannot be listed: {error}") from error


def _last_listing(lake: LakeResource) -> "tuple[pa.Table | None, str]":
    """The last listing, and a name of its version."""
    from mm_assets.engines.lake.tables import table_id
    from mm_assets.engines.sources.source import LISTING
    from mm_assets.stages.ingest.tables import OBJECTS

    tables = lake.tables()
    if not tables.exists(OBJECTS):
        return None, "never"
    ds = tables.open(OBJECTS)
    return ds.to_table(columns=LISTING.names), f"{table_id(ds)[:6]}@v{ds.version}"


def _decide(
    instance: dg.DagsterInstance,
    settings: AutomationSettings,
    now: float,
    difference: Difference,
    debounce: Debounce,
    version: str,
) -> dg.SensorResult:
    running = unfinished_run(instance, LISTING)
    if running is not None:
        return _skip(debounce, f"{difference}: run {running[:8]} is listing the source, or is to do so")
    # A run that succeeded has listed the source: if the same state differs again after it, that is another request.
    key = f"{difference.digest}-{version}-{newest_id(instance, LISTING)}"
    if key == debounce.last_request:
        return _skip(debounce, f"{difference}: asked for before, and the run failed; materialize raw_images by hand")
    if not debounce.is_over(settings, now):
        return _skip(debounce, f"{difference}: waiting for {settings.quiet_seconds:g} s of quiet")
    tags = {f"source/{name}": str(getattr(difference, name)) for name in ("objects", "new", "changed", "removed")}
    request = dg.RunRequest(run_key=key, asset_selection=[LISTING], tags=tags)
    return dg.SensorResult(run_requests=[request], cursor=debounce.after_request(key, now).cursor())


def _skip(debounce: Debounce, why: str) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(why), cursor=debounce.cursor())
