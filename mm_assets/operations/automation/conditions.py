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
    """It is missing, or made from other versions of its inputs or by other code than those of now."""

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
    """It was requested for exactly this state of inputs and code before: a run that failed is not tried for ever."""

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "asked_for_already"

    @property
    def description(self) -> str:
        """As the UI shows it."""
        return "Requested before for these inputs and this code; where that run failed, materialize it by hand"

    def evaluate(self, context: dg.AutomationContext[AssetKey]) -> dg.AutomationResult[AssetKey]:
        """The cursor holds the state at the last look, and the one that was last requested (None: nothing is due)."""
        said = json.loads(context.cursor) if context.cursor else {"seen": None, "asked": None}
        requested = context.get_previous_requested_subset(context.key)
        asked = said["seen"] if requested is not None and not requested.is_empty else said["asked"]
        freshness = _freshness(context)
        state = freshness.state(context.key) if freshness.outdated(context.key) else None
        asked = asked if state is not None else None
        return _result(context, state is not None and state == asked, json.dumps({"seen": state, "asked": asked}))


class InputsOutdated(dg.AutomationCondition[AssetKey]):
    """Something that it is made from is itself to be made anew, or could not be: its inputs do not fit together."""

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "inputs_outdated"

    @property
    def description(self) -> str:
        """As the UI shows it."""
        return "Something that it is made from, at any depth, is itself outdated"

    def evaluate(self, context: dg.AutomationContext[AssetKey]) -> dg.AutomationResult[AssetKey]:
        """See the description; what is waited for stands in the log of the sensor's tick."""
        names = _freshness(context).outdated_before(context.key) if not context.candidate_subset.is_empty else []
        if names:
            context.log.info(f"{context.key.to_user_string()} waits for {', '.join(names)}")
        return _result(context, bool(names))


class InputsFailed(dg.AutomationCondition[AssetKey]):
    """The newest version of an input failed a blocking check: the step would be refused by the same rule."""

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "a_blocking_check_of_an_input_failed"

    @property
    def description(self) -> str:
        """As the UI shows it."""
        return "The newest version of something that it is made from failed a blocking check"

    def evaluate(self, context: dg.AutomationContext[AssetKey]) -> dg.AutomationResult[AssetKey]:
        """See the description; which check of what stands in the log of the sensor's tick."""
        inputs = context.asset_graph.get(context.key).parent_keys if not context.candidate_subset.is_empty else []
        failed = failed_checks(context.asset_graph_view.instance, inputs)
        if failed:
            context.log.info(f"{context.key.to_user_string()} waits: {', '.join(failed)} failed")
        return _result(context, bool(failed))


# Of a tick, which has a view of its own: all conditions of it judge by the same state, read once.
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
    """Run an asset once for each state of its inputs and code that it is not made from, when these are settled.

    A step that reads inputs of which one is about to change would be refused by the diamond rule, or be done twice.
    """
    judged = AC.any_checks_match(AC.in_progress(), blocking_only=True)
    return (
        ~AskedFor()  # first, for it looks at every tick; those after it look only where those before hold
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
