"""When an asset is run again by itself."""

import json
from weakref import WeakKeyDictionary

import dagster as dg
from dagster import AssetKey
from dagster import AutomationCondition as AC  # noqa: N817  (its usual name)

from mm_assets.operations.automation.freshness import TRAINED, Freshness
from mm_assets.operations.automation.runs import failed_checks
from mm_assets.steps.dagster_private import AssetGraphView


class Outdated(dg.AutomationCondition[AssetKey]):
    """The asset is missing, or its inputs or its code have changed since it was made."""

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "outdated"

    @property
    def description(self) -> str:
        """As the UI shows it."""
        return "Missing, or made from other data versions of its inputs or by other code (settings too) than now"

    def evaluate(self, context: dg.AutomationContext[AssetKey]) -> dg.AutomationResult[AssetKey]:
        """See the description."""
        return _result(context, _freshness(context).outdated(context.key))


class AskedFor(dg.AutomationCondition[AssetKey]):
    """The asset was requested for this very state of inputs and code before; a failed run is not repeated for ever."""

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "asked_for_already"

    @property
    def description(self) -> str:
        """As the UI shows it."""
        return "Requested before for these inputs and this code; where that run failed, materialize it by hand"

    def evaluate(self, context: dg.AutomationContext[AssetKey]) -> dg.AutomationResult[AssetKey]:
        """The cursor has the state at the last tick (`seen`) and the last requested (`asked`); null: nothing is due.

        For example, inputs at state s1, whose run fails:
            tick 1  state s1, nothing requested   the asset is requested
            tick 2  state s1, requested s1        True: not requested again
            tick 3  state s2 (an input changed)   False: requested for s2
        """
        last = json.loads(context.cursor) if context.cursor else {"seen": None, "asked": None}
        subset = context.get_previous_requested_subset(context.key)
        requested = last["seen"] if subset is not None and not subset.is_empty else last["asked"]
        freshness = _freshness(context)
        state = freshness.state(context.key) if freshness.outdated(context.key) else None
        requested = requested if state is not None else None
        cursor = json.dumps({"seen": state, "asked": requested})
        return _result(context, state is not None and state == requested, cursor)


class InputsOutdated(dg.AutomationCondition[AssetKey]):
    """An input, at any depth, is itself outdated: the inputs do not fit together yet."""

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "inputs_outdated"

    @property
    def description(self) -> str:
        """As the UI shows it."""
        return "Something that it is made from, at any depth, is itself outdated"

    def evaluate(self, context: dg.AutomationContext[AssetKey]) -> dg.AutomationResult[AssetKey]:
        """See the description; the log of the sensor's tick names the inputs."""
        names = _freshness(context).outdated_before(context.key) if not context.candidate_subset.is_empty else []
        if names:
            context.log.info(f"{context.key.to_user_string()} waits for {', '.join(names)}")
        return _result(context, bool(names))


class InputsFailed(dg.AutomationCondition[AssetKey]):
    """The newest version of an input failed a blocking check; a step that reads it would be refused."""

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "a_blocking_check_of_an_input_failed"

    @property
    def description(self) -> str:
        """As the UI shows it."""
        return "The newest version of something that it is made from failed a blocking check"

    def evaluate(self, context: dg.AutomationContext[AssetKey]) -> dg.AutomationResult[AssetKey]:
        """See the description; the log of the sensor's tick names the asset and the check."""
        inputs = context.asset_graph.get(context.key).parent_keys if not context.candidate_subset.is_empty else []
        failed = failed_checks(context.asset_graph_view.instance, inputs)
        if failed:
            context.log.info(f"{context.key.to_user_string()} waits: {', '.join(failed)} failed")
        return _result(context, bool(failed))


# By the view of a tick: all conditions of one tick judge by the same state, read once.
_READ: WeakKeyDictionary[AssetGraphView, Freshness] = WeakKeyDictionary()


def _freshness(context: dg.AutomationContext[AssetKey]) -> Freshness:
    view = context.asset_graph_view
    if view not in _READ:
        _READ[view] = Freshness(view.instance, context.asset_graph)
    return _READ[view]


def _result(
    context: dg.AutomationContext[AssetKey], holds: bool, cursor: str | None = None
) -> dg.AutomationResult[AssetKey]:
    return dg.AutomationResult(
        context, context.candidate_subset if holds else context.get_empty_subset(), cursor=cursor
    )


def on_change() -> dg.AutomationCondition[AssetKey]:
    """Runs an outdated asset once for each state of its inputs and code, when all of these are settled.

    An input that is about to change would make the diamond rule refuse the step, or the step run twice.
    """
    judged = AC.any_checks_match(AC.in_progress(), blocking_only=True)
    return (
        ~AskedFor()  # first: it must see every tick, and a condition is evaluated only where those before it hold
        & Outdated()
        & ~InputsOutdated()
        & ~AC.any_deps_match(AC.missing()).with_label("any_deps_missing")
        & ~AC.any_deps_match(judged).with_label("a_blocking_check_of_an_input_is_being_made")
        & ~InputsFailed()
        & ~AC.any_deps_in_progress()
        & ~AC.in_progress()
    )


def condition_of(key: AssetKey) -> dg.AutomationCondition[AssetKey] | None:
    """The condition of an asset; None for the one that has a sensor of its own."""
    return None if key == TRAINED else on_change()
