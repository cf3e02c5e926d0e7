"""Checks of the scores: errors where cells are missing or too many failed, a warning where values moved."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from mm_assets.judging.verdicts import Verdict, not_known
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.records import Record
from mm_assets.resources import LakeResource
from mm_assets.scoring import Scorer
from mm_assets.settings import Settings
from mm_assets.steps.checks import judged

if TYPE_CHECKING:
    from mm_assets.history.history import History
    from mm_assets.history.materialized import Materialized

NEAR_DUPLICATES = "scores/near_duplicates"
IMAGE_TABLE = "image_table"
Judge = Callable[["Materialized"], Verdict]


def score_checks(scorers: Mapping[str, Scorer]) -> dg.AssetChecksDefinition:
    """Declare the checks of all scorers, built-in ones and those of the profile."""

    @dg.multi_asset_check(
        name="score_checks",
        specs=[spec for scorer in scorers.values() for spec in _specs(scorer)],
        can_subset=True,
    )
    def checks(
        context: dg.AssetCheckExecutionContext, lake: LakeResource, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.AssetCheckResult]:
        """Whether all images have cells, how many failed, and how far the values moved; no image is read."""
        judges = {scorer.asset: _judges(scorer, settings) for scorer in scorers.values()}
        yield from judged(context, lake, judges)

    return checks


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "coverage",
            asset=dg.AssetKey(["scores", "near_duplicates"]),
            blocking=True,
            description="Fails when a smaller share of the images with a phash than `checks.min_score_coverage` "
            "has a group at the current `duplicates.max_distance`.",
        )
    ],
)
def near_duplicates_checks(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.AssetCheckResult]:
    """Whether all images with a hash have a group."""
    yield from judged(context, lake, {NEAR_DUPLICATES: {"coverage": lambda checked: _grouped(checked, settings)}})


def ordered_columns(scorer: Scorer) -> list[str]:
    """The columns whose values can move: numbers, except hashes (unsigned 64-bit)."""
    kinds = scorer.types.items()
    numbers = [name for name, kind in kinds if pa.types.is_floating(kind) or pa.types.is_integer(kind)]
    return [name for name in numbers if scorer.types[name] != pa.uint64()]


def _specs(scorer: Scorer) -> list[dg.AssetCheckSpec]:
    key = dg.AssetKey(["scores", scorer.name])
    specs = [
        dg.AssetCheckSpec(
            "coverage",
            asset=key,
            blocking=True,
            description="Fails when a smaller share of the usable images than `checks.min_score_coverage` has "
            "a cell at the scorer's revision; null and failed cells count as cells.",
        ),
        dg.AssetCheckSpec(
            "error_budget",
            asset=key,
            blocking=True,
            description="Fails when a greater share of cells failed than `score.error_budget` (`score.error_budgets`).",
        ),
    ]
    if ordered_columns(scorer):
        sentence = (
            "Warns when the population stability index of a column against the last promoted run is above "
            "`checks.max_drift`."
        )
        specs.append(dg.AssetCheckSpec("drift", asset=key, description=sentence))
    return specs


def _judges(scorer: Scorer, settings: Settings) -> dict[str, Judge]:
    return {
        "coverage": lambda checked: _scored(checked, scorer, settings),
        "error_budget": lambda checked: _error_budget(checked, scorer, settings),
        "drift": lambda checked: _moved(checked, scorer, settings),
    }


def _scored(checked: "Materialized", scorer: Scorer, settings: Settings) -> Verdict:
    from mm_assets.stages.score.filters import is_current, usable_at
    from mm_assets.stages.score.verdicts import scored

    ds, usable = checked.ds, usable_at(checked.input(IMAGE_TABLE).ref)
    covered = ds.count_rows(f"{usable} and {is_current(scorer)}")
    return scored(scorer.asset, covered, ds.count_rows(usable), settings.checks.min_score_coverage)


def _grouped(checked: "Materialized", settings: Settings) -> Verdict:
    from mm_assets.stages.score.duplicates import revision_of
    from mm_assets.stages.score.filters import usable_at
    from mm_assets.stages.score.verdicts import scored

    ds = checked.ds
    usable = f"{usable_at(checked.input(IMAGE_TABLE).ref)} and phash is not null"
    current = f"near_duplicates_rev = '{revision_of(settings.duplicates.max_distance)}'"
    covered = ds.count_rows(f"{usable} and {current}")
    return scored(NEAR_DUPLICATES, covered, ds.count_rows(usable), settings.checks.min_score_coverage)


def _error_budget(checked: "Materialized", scorer: Scorer, settings: Settings) -> Verdict:
    from mm_assets.stages.score.filters import has_failed, usable_at
    from mm_assets.stages.score.verdicts import error_budget

    ds, usable = checked.ds, usable_at(checked.input(IMAGE_TABLE).ref)
    failed = ds.count_rows(f"{usable} and {has_failed(scorer)}")
    return error_budget(scorer.asset, failed, ds.count_rows(usable), settings.score.budget(scorer.name))


def _moved(checked: "Materialized", scorer: Scorer, settings: Settings) -> Verdict:
    from mm_assets.stages.score.verdicts import moved

    promotion = checked.history.last_promotion()
    if promotion is None:
        return not_known("drift", "nothing was promoted yet")
    try:
        reference = checked.history.made_from(promotion, scorer.asset)
        if reference is None:
            return not_known("drift", f"the last promoted run ({promotion.data_version}) did not read {scorer.asset}")
        if reference.code_version != checked.record.code_version:
            return not_known(
                "drift", f"{scorer.asset} was of revision {reference.code_version} in the last promoted run"
            )
        then = _values(reference, checked.history, scorer)
    except RefusalError as gone:
        return not_known("drift", str(gone))
    now = _values(checked.record, checked.history, scorer)
    reference_name = f"the last promoted run ({reference.data_version})"
    return moved(then, now, settings.checks.max_drift, reference_name)


def _values(record: Record, history: "History", scorer: Scorer) -> pa.Table:
    from mm_assets.stages.score.filters import is_current, usable_at

    images = history.made_from(record, IMAGE_TABLE)
    assert images is not None  # every scorer reads it
    computed = f"{usable_at(images.ref)} and {is_current(scorer)}"
    ds = history.lake.open_at(record.ref)
    present = [name for name in ordered_columns(scorer) if name in ds.schema.names]
    return ds.to_table(columns=present, filter=computed)
