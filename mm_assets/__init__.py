"""Raw images to a fine-tuned vision-language model and its predictions, as one Dagster graph (definitions.py).

Beside the map stand the catalog, the command line, and ground files: small, imported by all, importing next to nothing.
What your own code imports is named here, and loaded when it is asked for: `from mm_assets import scorer`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mm_assets.scoring import ScoreColumn, Scorer, Values, grey, scorer
    from mm_assets.settings import Resources

_HOMES = {
    **dict.fromkeys(("ScoreColumn", "Scorer", "Values", "grey", "scorer"), "mm_assets.scoring"),
    "Resources": "mm_assets.settings",
}

__all__ = ["Resources", "ScoreColumn", "Scorer", "Values", "grey", "scorer"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever the name stands for)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
