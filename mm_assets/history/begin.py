"""The beginning and end of a step, run by Dagster or without it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mm_assets.catalog import keys_where
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.heal import heal
from mm_assets.history.history import History
from mm_assets.history.publish import publish
from mm_assets.lineage.ancestry import diamond_conflict
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext, StepResult

MAY_MIX_VERSIONS = keys_where(lambda row: row.mixes_versions)

# Chooses the materialization of an input that a step reads.
Choose = Callable[[str, History], Record]
# Refuses a materialization that a step may not read.
Gate = Callable[[Record], None]


@dataclass(frozen=True)
class StepRequest:
    """The order for a step.

    Args:
        run_id: of its run.
        key: its name.
        code_versions: by asset that it materializes.
        inputs: the assets that it reads.
        log: told about progress.
    """

    run_id: str
    key: str
    code_versions: Mapping[str, str]
    inputs: Sequence[str] = ()
    log: Callable[[str], None] = field(default=print, repr=False)


@dataclass(frozen=True)
class OpenStep:
    """A step that has begun: the context for its job, and the history that it extends."""

    context: StepContext
    history: History

    def publish(self, asset: str, result: StepResult) -> Record:
        """See `publish.publish`."""
        return publish(self.history, self.context, asset, result)


def newest_materialization(asset: str, history: History) -> Record:
    """The newest materialization of an asset in the lake.

    Raises:
        RefusalError: the asset was not materialized yet.
    """
    if asset not in history.newest:
        raise RefusalError(f"{asset} is not in the lake {history.lake.root} yet: materialize {asset} first")
    return history.newest[asset]


def no_gate(record: Record) -> None:
    """Let every materialization be read."""


def begin(lake: Lake, request: StepRequest, choose: Choose = newest_materialization, gate: Gate = no_gate) -> OpenStep:
    """Read the history once, heal the step's own assets, pin its inputs, and hold the diamond rule.

    Args:
        lake: where.
        request: the order.
        choose: gives the materialization of each input.
        gate: called with each of them; raises where it may not be read.

    Raises:
        RefusalError: the step cannot be done now; the message says what to do.
    """
    history = History.read(lake)
    # First, so that a record lost to a crash is written before anybody looks for it.
    own = {asset: heal(history, asset) for asset in sorted(request.code_versions)}
    inputs = {}
    for name in request.inputs:
        inputs[name] = choose(name, history)
        gate(inputs[name])
    for record in inputs.values():
        list(history.ancestors(record))  # refuses an input whose ancestor the history has lost
    conflict = None if MAY_MIX_VERSIONS.issuperset(request.code_versions) else diamond_conflict(inputs, history.records)
    if conflict:
        raise RefusalError(conflict)
    codes = dict(request.code_versions)
    context = StepContext(request.run_id, request.key, codes, inputs, history.records, own, request.log)
    return OpenStep(context, history)
