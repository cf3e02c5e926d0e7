"""Loads scorers by import path, those of the package and the user's own, and refuses those with a fault."""

import re

import pyarrow as pa

from mm_assets.catalog import NEAR_DUPLICATES
from mm_assets.own_code import OwnCodeError, load
from mm_assets.scoring import READABLE, Scorer
from mm_assets.settings import Resources, ScoreSettings, Settings, SettingsError
from mm_assets.stages.score.tables import columns_of, image_columns

BUILT_IN = (
    "mm_assets.stages.score.builtin.sharpness:sharpness",
    "mm_assets.stages.score.builtin.exposure:exposure",
    "mm_assets.stages.score.builtin.entropy:entropy",
    "mm_assets.stages.score.builtin.phash:phash",
)
OWN = "score.own (MM_SCORE__OWN)"


def all_scorers(settings: ScoreSettings) -> dict[str, Scorer]:
    """The built-in scorers and those of the profile, by name.

    Raises:
        SettingsError: an import path leads to no scorer, a name is taken, or a setting names an unknown scorer.
    """
    scorers: dict[str, Scorer] = {}
    for path in (*BUILT_IN, *settings.own):
        scorer = _import(path)
        taken = {column.name for columns in image_columns(scorers.values()).values() for column in columns}
        if scorer.name in scorers or scorer.asset == NEAR_DUPLICATES.key:
            raise SettingsError(f"{OWN}: {path}: there is a scorer named {scorer.name} already")
        clash = sorted(taken & {column.name for column in columns_of(scorer)})
        if clash:
            raise SettingsError(
                f"{OWN}: {path}: the image table has a column {clash[0]} already: give yours another name"
            )
        scorers[scorer.name] = scorer
    _check_names(settings, scorers)
    return scorers


def limited(settings: Settings, scorers: dict[str, Scorer]) -> list[Scorer]:
    """The scorers whose columns the profile limits.

    Raises:
        SettingsError: a limit names a column that no scorer has, or one that holds no numbers.
    """
    owners = {column: scorer for scorer in scorers.values() for column in scorer.columns}
    for column in settings.curate.limits:
        if column not in owners:
            columns = ", ".join(sorted(owners))
            raise SettingsError(
                f"curate.limits (MM_CURATE__LIMITS): no scorer has a column {column}; known are {columns}"
            )
        kind = owners[column].types[column]
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise SettingsError(f"curate.limits (MM_CURATE__LIMITS): {column} holds no numbers, but {kind}")
    return [scorer for scorer in scorers.values() if set(scorer.columns) & set(settings.curate.limits)]


def _check_names(settings: ScoreSettings, scorers: dict[str, Scorer]) -> None:
    for setting in ("resources", "error_budgets"):
        unknown = sorted(getattr(settings, setting).keys() - scorers.keys())
        if unknown:
            names = ", ".join(sorted(scorers))
            where = f"score.{setting} (MM_SCORE__{setting.upper()})"
            raise SettingsError(f"{where}: no scorer {unknown[0]}; known are {names}")


def _import(path: str) -> Scorer:
    try:
        loaded = load(path)
    except OwnCodeError as error:
        raise SettingsError(f"{OWN}: {error}") from error
    try:
        scorer = loaded() if isinstance(loaded, type) and issubclass(loaded, Scorer) else loaded
    except Exception as error:  # the message names whatever the user's constructor raises
        raise SettingsError(f"{OWN}: {path}() failed: {type(error).__name__}: {error}") from error
    if not isinstance(scorer, Scorer):
        raise SettingsError(
            f"{OWN}: {path} is no scorer: decorate a function with @scorer(revision, column=type), or derive a class "
            "from mm_assets.Scorer"
        )
    fault = _fault(scorer)
    if fault:
        raise SettingsError(f"{OWN}: {path}: {fault}")
    return scorer


def _fault(scorer: Scorer) -> str | None:
    """What is wrong with the attributes of a scorer, in words; None where nothing is."""
    missing = [name for name in ("revision", "columns", "__call__") if not hasattr(scorer, name)]
    if missing:
        return f"the class says no {missing[0]}"
    if not (isinstance(scorer.revision, str) and re.fullmatch(r"[^'\s]+", scorer.revision)):
        return f'revision {scorer.revision!r}: give text without blanks and quotes, such as "1"'
    if not scorer.columns:
        return "columns: name at least one"
    odd = [name for name in (scorer.name, *scorer.columns) if not re.fullmatch(r"[A-Za-z_]\w*", name)]
    if odd:
        return f"{odd[0]!r} cannot be the name of a column: give letters, digits and underscores"
    untyped = [name for name, kind in scorer.types.items() if not isinstance(kind, pa.DataType)]
    if untyped:
        return f"column {untyped[0]}: give an Arrow type, such as pa.float32()"
    if not (isinstance(scorer.batch_size, int) and scorer.batch_size > 0):
        return f"batch_size {scorer.batch_size!r}: give a whole number above 0"
    if not isinstance(scorer.resources, Resources):
        return "resources: give mm_assets.Resources(...)"
    unknown = sorted(set(scorer.reads) - set(READABLE))
    return f"reads: {unknown[0]} is none of {', '.join(READABLE)}" if unknown else None
