"""The sensor that decides on a training, and says why or why not."""

import hashlib
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from mm_assets.lineage.records import Record
from mm_assets.operations.automation.freshness import TRAINED, Freshness
from mm_assets.operations.automation.runs import failed_checks, newest_id, unfinished_checks, unfinished_run
from mm_assets.operations.automation.training import CHECKPOINT, Verdict, judge_training
from mm_assets.resources import LakeResource
from mm_assets.settings import AutomationSettings
from mm_assets.steps.dagster_private import BaseAssetGraph
from mm_assets.steps.events import CODE_VERSION, DATA_VERSION, INPUT_VERSION
from mm_assets.steps.pins import RECORD

if TYPE_CHECKING:
    from mm_assets.history.history import History


def build(settings: AutomationSettings, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """Build `training`."""

    @dg.sensor(
        target=dg.AssetSelection.assets(TRAINED),
        minimum_interval_seconds=settings.conditions_seconds,
        default_status=status,
    )
    def training(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
        """Trains when there is enough to learn; every tick says how much there is.

        That is: so many new or changed training examples (`automation.min_new_examples`), a drop of the accuracy on
        held-out images (`automation.max_accuracy_drop`), another recipe or base model, or no checkpoint yet.
        """
        from mm_assets.history.history import History

        assert context.repository_def is not None
        graph = context.repository_def.asset_graph
        history = History.read(lake.tables())
        freshness = Freshness(context.instance, graph)
        checkpoint = history.newest.get(CHECKPOINT) if freshness.missing(TRAINED) else None
        if checkpoint is not None:
            # Before anything else is waited for: what follows the checkpoint works with the one that there is.
            return dg.SensorResult(
                skip_reason=dg.SkipReason(
                    f"the lake has a checkpoint, {checkpoint.data_version}: adopted, nothing is trained"
                ),
                asset_events=[_adoption(history, checkpoint)],
            )
        reason = _reason_to_wait(context.instance, graph, freshness)
        if reason:
            return dg.SkipReason(reason)
        verdict = judge_training(history, settings, graph.get(TRAINED).code_version or "")
        return _request(context, freshness.state(TRAINED), verdict)

    return training


def _reason_to_wait(instance: dg.DagsterInstance, graph: BaseAssetGraph, freshness: Freshness) -> str:
    """Why nothing can be trained now, in words; empty where nothing is in the way."""
    running = unfinished_run(instance, TRAINED)
    if running is not None:
        return f"run {running[:8]} is training, or is to do so"
    inputs = graph.get(TRAINED).parent_keys
    waits_for = freshness.outdated_before(TRAINED) or unfinished_checks(instance, graph, inputs)
    if waits_for:
        return f"waiting for {', '.join(waits_for)}"
    failed = failed_checks(instance, inputs)
    return f"a blocking check of what it is trained on failed: {', '.join(failed)}" if failed else ""


def _request(context: dg.SensorEvaluationContext, state: str, verdict: Verdict) -> dg.SensorResult | dg.SkipReason:
    """A request for a training that is worth its while, unless this state was requested before.

    The state alone counts: a run that trained nothing (its checkpoint was there already) does not change it.
    """
    if not verdict.train:
        return dg.SkipReason(verdict.sentence)
    cursor = _digest(state)
    if cursor == context.cursor:
        return dg.SkipReason(
            f"{verdict.sentence}: asked for before, and the run failed or trained nothing; "
            "materialize llava_checkpoint by hand"
        )
    # A state that comes back, after another one was trained on, is another request.
    run_key = _digest(f"{state} {newest_id(context.instance, TRAINED)}")
    request = dg.RunRequest(run_key=run_key, asset_selection=[TRAINED], tags={"training/because": verdict.sentence})
    return dg.SensorResult(run_requests=[request], cursor=cursor)


def _digest(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()[:16]


def _adoption(history: "History", checkpoint: Record) -> dg.AssetMaterialization:
    """An event of the lake's checkpoint for an instance that does not have one: later assets wait for it.

    The lake's history gets a row of it too, without a run.
    """
    record = replace(
        checkpoint, id=uuid.uuid4().hex, run_id="", step="training (sensor)", at=datetime.now(UTC), reused=True
    )
    history.append(record)
    inputs = {f"{INPUT_VERSION}{asset}": version for asset, version in record.read.items()}
    return dg.AssetMaterialization(
        TRAINED,
        description="Found in the lake; nothing was trained.",
        metadata={RECORD: record.id, "reused": True},
        tags={DATA_VERSION: record.data_version, CODE_VERSION: record.code_version, **inputs},
    )
