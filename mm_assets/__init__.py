"""Raw images to a fine-tuned vision-language model and its predictions, as one Dagster graph.

Beside this file stand the map (definitions.py), the catalog of assets, the command line, and ground files: small and
pure, imported by all, importing next to nothing.

What a user's own code imports stands here too, and is loaded when it is asked for: `from mm_assets import scorer`.
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
