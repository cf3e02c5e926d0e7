"""Kill -9 at random instants: nothing is lost, doubled or unreadable, and what comes next starts at once."""

from pathlib import Path

import pytest

from mm_assets_tests.torture.kills import torture

pytestmark = pytest.mark.ray
KILLS, SEED = 20, 4


def test_after_kills_the_lake_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    report = torture(tmp_path, KILLS, SEED)
    assert not report.damage, report.damage
    assert report.killed >= KILLS
    stages = {name.split()[0] for name in report.kills}
    assert stages == {"ingest", "score", "predict"}
    assert {name.split()[1] for name in report.kills} == {"step", "worker", "publication"}
