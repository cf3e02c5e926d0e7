"""The share of failed rows that a profile allows."""

from mm_assets.judging.verdicts import at_most, of
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.step import StepResult


class BudgetError(RefusalError):
    """More rows failed than the profile allows; the good ones are kept, and the step's other assets (`results`) too."""

    results: "dict[str, StepResult]"

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.results = {}


def check_budget(what: str, failed: int, rows: int, budget: float, setting: str) -> None:
    """Hold a step to the share of failed rows that its profile allows, after the good rows were committed.

    Args:
        what: the asset.
        failed: rows of it that have an error now, from this run or an earlier one.
        rows: all rows that it should fill.
        budget: greatest share, 0 to 1.
        setting: the name of the budget's setting.

    Raises:
        BudgetError: the share is greater.
    """
    if not at_most(failed, rows, budget):
        raise BudgetError(
            f"{what}: {of(failed, rows, 'rows failed')}, more than {setting} ({budget:g}) "
            "allows; the good rows are kept. Look at the rows' errors, then run it again with retry_errors, or allow "
            f"more (MM_{setting.upper().replace('.', '__')})"
        )
