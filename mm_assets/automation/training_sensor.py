"""The sensor that decides on a training, and says why or why not."""

import hashlib
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from mm_assets.automation.freshness import TRAINED, Freshness
from mm_assets.automation.runs import failed_checks, newest_id, unfinished_run
from mm_assets.automation.training import CHECKPOINT, worth_training
from mm_assets.lineage.events import CODE_VERSION, DATA_VERSION, INPUT_VERSION
from mm_assets.lineage.pins import RECORD
from mm_assets.lineage.refs import Record
from mm_assets.resources import Lake
from mm_assets.settings import AutomationSettings

if TYPE_CHECKING:
    from mm_assets.engines.lance_tables import LakeTables


def build(settings: AutomationSettings, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """Build `training`."""

    @dg.sensor(
        target=dg.AssetSelection.assets(TRAINED),
        minimum_interval_seconds=settings.conditions_seconds,
        default_status=status,
    )
    def training(context: dg.SensorEvaluationContext, lake: Lake) -> dg.SensorResult | dg.SkipReason:
        """Trains when there is enough to learn; every tick says how much there is.

        That is: so many new or changed training examples (`automation.min_new_examples`), a drop of the accuracy on
        held-out images (`automation.max_accuracy_drop`), another recipe or base model, or no checkpoint yet.
        """
        from mm_assets.engines.lineage_table import last_records, records

        assert context.repository_def is not None
        graph = context.repository_def.asset_graph
        running = unfinished_run(context.instance, TRAINED)
        if running is not None:
            return dg.SkipReason(f"run {running[:8]} is training, or is to do so")
        freshness = Freshness(context.instance, graph)
        waits_for = freshness.outdated_before(TRAINED)
        if waits_for:
            return dg.SkipReason(f"waiting for {', '.join(waits_for)}")
        failed = failed_checks(context.instance, graph, graph.get(TRAINED).parent_keys)
        if failed:
            return dg.SkipReason(f"a blocking check of what it is trained on failed: {', '.join(failed)}")
        code_version = graph.get(TRAINED).code_version or ""
        tables = lake.tables()
        history = records(tables)
        verdict = worth_training(tables, history, settings, code_version)
        if not verdict.train:
            known = last_records(tables, history.values()).get(CHECKPOINT)
            adopted = [_adopted(tables, known)] if known is not None and freshness.missing(TRAINED) else []
            return dg.SensorResult(skip_reason=dg.SkipReason(verdict.sentence), asset_events=adopted)
        state = f"{freshness.state(TRAINED)} {newest_id(context.instance, TRAINED)}"
        key = hashlib.sha256(state.encode()).hexdigest()[:16]
        if key == context.cursor:
            return dg.SkipReason(
                f"{verdict.sentence}: asked for before, and the run failed; materialize llava_checkpoint by hand"
            )
        request = dg.RunRequest(run_key=key, asset_selection=[TRAINED], tags={"training/because": verdict.sentence})
        return dg.SensorResult(run_requests=[request], cursor=key)

    return training


def _adopted(tables: "LakeTables", known: Record) -> dg.AssetMaterialization:
    """The lake's own checkpoint, for an instance that does not know it: what follows waits for it.

    As every materialization it gets a row of the lake's history, without a run.
    """
    from mm_assets.engines.lineage_table import append

    record = replace(known, id=uuid.uuid4().hex, run_id="", step="training (sensor)", at=datetime.now(UTC), reused=True)
    append(tables, record)
    inputs = {f"{INPUT_VERSION}{asset}": version for asset, version in record.read.items()}
    return dg.AssetMaterialization(
        TRAINED,
        description="Found in the lake; nothing was trained.",
        metadata={RECORD: record.id, "reused": True},
        tags={DATA_VERSION: record.data_version, CODE_VERSION: record.code_version, **inputs},
    )
