"""What the daemon would do, tick by tick: the real conditions on the real graph, and runs that only report."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster import AssetKey

from mm_assets.operations.automation.freshness import TRAINED
from mm_assets.resources import LakeResource
from mm_assets.settings import PREFIX
from mm_assets.steps.events import CODE_VERSION, DATA_VERSION, INPUT_VERSION
from mm_assets_tests.kit.project import built


def key(name: str) -> AssetKey:
    return AssetKey(name.split("/"))


def definitions_of_now() -> dg.Definitions:
    """What the environment asks for."""
    return built(tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(PREFIX))))


@dataclass
class Daemon:
    """`versions` is the data version that each asset has now; a run of it makes the next one, or the same again."""

    definitions: dg.Definitions = field(default_factory=definitions_of_now)
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    versions: dict[str, int] = field(default_factory=dict)
    cursor: Any = None

    def tick(self) -> set[str]:
        """Names of what is requested."""
        result = dg.evaluate_automation_conditions(self.definitions, self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        names = [spec.key for spec in self.definitions.resolve_all_asset_specs()]
        return {found.to_user_string() for found in names if result.get_num_requested(found)}

    def materialize(self, *names: str, same: Iterable[str] = (), read: Mapping[str, int] | None = None) -> None:
        """Report a run in the order of the flow; `same` gives the version before again, `read` other inputs."""
        specs = {spec.key: spec for spec in self.definitions.resolve_all_asset_specs()}
        for found in self.definitions.resolve_asset_graph().toposorted_asset_keys:
            name = found.to_user_string()
            if name in names:
                self._report(specs[found], 0 if name in same else 1, read or {})

    def _report(self, spec: dg.AssetSpec, step: int, read: Mapping[str, int]) -> None:
        name = spec.key.to_user_string()
        self.versions[name] = self.versions.get(name, 0) + step
        tags = {DATA_VERSION: f"{name}@v{self.versions[name]}", CODE_VERSION: spec.code_version or ""}
        for dep in spec.deps:
            of = dep.asset_key.to_user_string()
            tags[f"{INPUT_VERSION}{of}"] = f"{of}@v{read.get(of, self.versions.get(of, 0))}"
        self.instance.report_runless_asset_event(dg.AssetMaterialization(spec.key, tags=tags))

    def start(self, *names: str) -> dg.DagsterRun:
        """A run that is on its way."""
        job = self.definitions.resolve_implicit_global_asset_job_def()
        keys = {key(name) for name in names}
        return self.instance.create_run_for_job(
            job.get_subset(asset_selection=keys), asset_selection=frozenset(keys), status=dg.DagsterRunStatus.STARTED
        )

    def fail(self, run: dg.DagsterRun) -> None:
        self.instance.report_run_failed(run)

    def look(self, sensor: dg.SensorDefinition, lake: str, cursor: str | None) -> Any:
        """One tick of a sensor that looks at a lake."""
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=cursor,
            definitions=self.definitions,
            resources={"lake": LakeResource(root=lake, single_writer=False)},
        ) as context:
            return sensor.evaluate_tick(context)

    def settle(self) -> list[set[str]]:
        """Tick and run what is requested, until nothing is; what was requested, tick by tick."""
        seen = []
        while requested := self.tick():
            seen.append(requested)
            self.materialize(*requested)
            assert len(seen) < 20, "it never settles"
        return seen


def trained(daemon: Daemon) -> Daemon:
    """With a checkpoint and all that follows, as after a first training."""
    daemon.settle()
    daemon.materialize(TRAINED.to_user_string())
    daemon.settle()
    return daemon
