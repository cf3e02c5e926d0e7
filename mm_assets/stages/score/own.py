"""Scorers of the user's own, by the import paths that the profile names; refused when the definitions load."""

from collections.abc import Iterable

import pyarrow as pa

from mm_assets.lineage.columns import SOURCES
from mm_assets.own_code import OwnCodeError, load
from mm_assets.settings import ScoreSettings, Settings, SettingsError
from mm_assets.stages.score.scorers import SCORERS, Scorer

OWN = "score.own (MM_SCORE__OWN)"


def all_scorers(settings: ScoreSettings) -> dict[str, Scorer]:
    """The built-in scorers and those of the profile, by name.

    Raises:
        SettingsError: an import path leads to no scorer, a name is taken, or a setting names a scorer that is none.
    """
    scorers = dict(SCORERS)
    for path in settings.own:
        found = _import(path)
        taken = {*SOURCES["image_table"], *SOURCES["scores/near_duplicates"], *_columns(scorers.values())}
        if found.name in scorers or found.asset in SOURCES:
            raise SettingsError(f"{OWN}: {path}: there is a scorer named {found.name} already")
        clash = sorted(taken & set(_columns([found])))
        if clash:
            raise SettingsError(f"{OWN}: {path}: the image table has a column {clash[0]} already: name yours otherwise")
        scorers[found.name] = found
    for setting in ("resources", "error_budgets"):
        unknown = sorted(getattr(settings, setting).keys() - scorers.keys())
        if unknown:
            known = ", ".join(sorted(scorers))
            where = f"score.{setting} (MM_SCORE__{setting.upper()})"
            raise SettingsError(f"{where}: no scorer {unknown[0]}; known are {known}")
    return scorers


def limited(settings: Settings, scorers: dict[str, Scorer]) -> list[Scorer]:
    """The scorers whose columns the profile's own limits name.

    Raises:
        SettingsError: a limit names a column that no scorer has, or one that holds no numbers.
    """
    owners = {column: scorer for scorer in scorers.values() for column in scorer.columns}
    for column in settings.curate.limits:
        if column not in owners:
            known = ", ".join(sorted(owners))
            raise SettingsError(
                f"curate.limits (MM_CURATE__LIMITS): no scorer has a column {column}; known are {known}"
            )
        kind = owners[column].columns[column]
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise SettingsError(f"curate.limits (MM_CURATE__LIMITS): {column} holds no numbers, but {kind}")
    return [scorer for scorer in scorers.values() if set(scorer.columns) & set(settings.curate.limits)]


def _import(path: str) -> Scorer:
    try:
        found = load(path)
    except OwnCodeError as error:
        raise SettingsError(f"{OWN}: {error}") from error
    if not isinstance(found, Scorer):
        raise SettingsError(f"{OWN}: {path} is no scorer: decorate it with @scorer(revision, column=type)")
    return found


def _columns(scorers: Iterable[Scorer]) -> list[str]:
    return [field.name for scorer in scorers for field in scorer.fields()]
