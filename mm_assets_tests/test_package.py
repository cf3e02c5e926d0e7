"""What stands at the package itself: loaded when it is asked for, and nothing before."""

import subprocess
import sys

import pytest

import mm_assets
from mm_assets import Resources, ScoreColumn, Scorer, Values, grey, scorer, scoring, settings


def test_what_users_import_is_there() -> None:
    named = {"Resources": Resources, "ScoreColumn": ScoreColumn, "Scorer": Scorer, "Values": Values}
    assert set(mm_assets.__all__) == {*named, "grey", "scorer"}
    assert (Resources, ScoreColumn, Scorer) == (settings.Resources, scoring.ScoreColumn, scoring.Scorer)
    assert (grey, scorer, Values) == (scoring.grey, scoring.scorer, scoring.Values)
    with pytest.raises(AttributeError, match="module 'mm_assets' has no attribute 'scorrer'"):
        mm_assets.scorrer  # noqa: B018


@pytest.mark.parametrize(
    ("code", "free_of"),
    [
        ("import mm_assets", {"pyarrow", "numpy", "PIL", "pydantic", "dagster", "ray", "torch", "lance"}),
        ("from mm_assets import Scorer, scorer, grey, Resources", {"dagster", "ray", "torch", "lance"}),
    ],
)
def test_importing_it_is_cheap(code: str, free_of: set[str]) -> None:
    said = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], check=True, capture_output=True, text=True
    )
    assert free_of & set(said.stdout.split()) == set()
