"""The sensor that looks at the source."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg
from dagster import AssetKey

from mm_assets.catalog import RAW_IMAGES
from mm_assets.lineage.errors import RefusalError
from mm_assets.operations.automation.debounce import Difference, Waiting, compare
from mm_assets.operations.automation.runs import newest_id, unfinished_run
from mm_assets.resources import ImageSource, LakeResource
from mm_assets.settings import DRAWN, AutomationSettings

if TYPE_CHECKING:
    import pyarrow as pa

LISTING = AssetKey(RAW_IMAGES.key)
# So many intervals between two looks are still one watch: ticks are late where the machine is busy.
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
        before = Waiting.from_cursor(context.cursor)
        listing = _listing(image_source, context.log.info)
        if not listing.num_rows:
            return _skip(before.end(), f"there are no objects in {image_source.source}: nothing is taken for removed")
        listed, version = _listed(lake)
        found = compare(listing, listed)
        if not found:
            return _skip(before.end(), f"{found.objects:,} objects, nothing changed")
        now = clock()
        waiting = before.look(found, now, in_sight=LOOKS * settings.source_seconds)
        return _judged(context.instance, settings, now, found, waiting, version)

    return source_changed


def _listing(image_source: ImageSource, say: Callable[[str], None]) -> "pa.Table":
    try:
        return image_source.open().list(say)
    except OSError as error:
        raise RefusalError(f"source (MM_SOURCE): {image_source.source} cannot be listed: {error}") from error


def _listed(lake: LakeResource) -> "tuple[pa.Table | None, str]":
    """The last listing, and what names its version."""
    from mm_assets.engines.lake.tables import table_id
    from mm_assets.engines.sources.source import LISTING
    from mm_assets.stages.ingest.tables import OBJECTS

    tables = lake.tables()
    if not tables.exists(OBJECTS):
        return None, "never"
    ds = tables.open(OBJECTS)
    return ds.to_table(columns=LISTING.names), f"{table_id(ds)[:6]}@v{ds.version}"


def _judged(
    instance: dg.DagsterInstance,
    settings: AutomationSettings,
    now: float,
    found: Difference,
    waiting: Waiting,
    version: str,
) -> dg.SensorResult:
    running = unfinished_run(instance, LISTING)
    if running is not None:
        return _skip(waiting, f"{found}: run {running[:8]} is listing the source, or is to do so")
    # A run that succeeded has looked at the source as it was then: the same state after it is another one.
    key = f"{found.digest}-{version}-{newest_id(instance, LISTING)}"
    if key == waiting.asked:
        return _skip(waiting, f"{found}: asked for before, and the run failed; materialize raw_images by hand")
    if not waiting.over(settings, now):
        return _skip(waiting, f"{found}: waiting for {settings.quiet_seconds:g} s of quiet")
    tags = {f"source/{name}": str(getattr(found, name)) for name in ("objects", "new", "changed", "removed")}
    request = dg.RunRequest(run_key=key, asset_selection=[LISTING], tags=tags)
    return dg.SensorResult(run_requests=[request], cursor=waiting.ask(key, now).cursor())


def _skip(waiting: Waiting, why: str) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(why), cursor=waiting.cursor())
