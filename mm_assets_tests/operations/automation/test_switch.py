"""One setting switches everything on."""

import pytest

from mm_assets.definitions import build
from mm_assets.settings import load_settings

SENSORS = {"source_changed", "automation", "training", "tables_written_outside"}
SCHEDULES = {"verify_every_week", "maintenance_every_night"}


def states() -> dict[str, str]:
    repository = build(load_settings()).get_repository_def()
    sensors = {sensor.name: sensor.default_status.value for sensor in repository.sensor_defs}
    return sensors | {schedule.name: schedule.default_status.value for schedule in repository.schedule_defs}


def test_nothing_runs_by_itself_until_it_is_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(states()) == SENSORS | SCHEDULES
    assert set(states().values()) == {"STOPPED"}
    monkeypatch.setenv("MM_AUTOMATION__RUNNING", "true")
    assert set(states().values()) == {"RUNNING"}


def test_one_sensor_looks_at_the_conditions_of_all_assets() -> None:
    repository = build(load_settings()).get_repository_def()
    assert {sensor.name for sensor in repository.sensor_defs} == SENSORS
    graph = repository.asset_graph
    without = {
        key.to_user_string() for key in graph.materializable_asset_keys if not graph.get(key).automation_condition
    }
    assert without == {"llava_checkpoint"}
