"""A project as its user has it: a lake, a source and a Dagster instance; materialized in this process or by command."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mm_assets.definitions import build
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.history import History
from mm_assets.lineage.records import Record
from mm_assets.settings import S3Settings, load_settings

TABLES = ("objects", "images", "sft", "models", "evaluations", "predictions", "bundles")

# A training that ends soon, and predictions in many batches by one worker.
QUICK = {
    "MM_TRAIN__EPOCHS": "1",
    "MM_PREDICT__BATCH_SIZE": "16",
    "MM_PREDICT__BATCH_ROWS": "16",
    "MM_PREDICT__ACTORS": "1",
}


@lru_cache(maxsize=8)
def built(environment: tuple[tuple[str, str], ...]) -> dg.Definitions:
    """The definitions that these variables ask for: tests want the same again and again."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment:
            patch.setenv(name, value)
        return build(load_settings())


@dataclass
class Project:
    lake: Path | str
    source: Path | str
    home: Path
    env: dict[str, str] = field(default_factory=dict)
    s3: S3Settings = field(default_factory=S3Settings)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        # As at the project's root: no telemetry.
        shutil.copy(Path(__file__).parents[2] / "dagster.yaml", self.home)

    def copied(self, folder: Path) -> "Project":
        """The same source, with a copy of the lake and of Dagster's history below `folder`."""
        shutil.copytree(self.lake, folder / "lake")
        # Another process may be reading the same history: its journals come and go.
        journals = shutil.ignore_patterns("*.db-wal", "*.db-shm", "*.db-journal")
        shutil.copytree(self.home, folder / "home", ignore=journals, copy_function=_copy_file)
        return Project(folder / "lake", self.source, folder / "home", dict(self.env))

    def environment(self) -> dict[str, str]:
        return {"MM_LAKE": str(self.lake), "MM_SOURCE": str(self.source), "DAGSTER_HOME": str(self.home), **self.env}

    def definitions(self) -> dg.Definitions:
        return built(tuple(sorted(self.environment().items())))

    def materialize(
        self, *select: str, run_config: dict[str, Any] | None = None, fails: bool = False
    ) -> dg.ExecuteInProcessResult:
        """Run in this process, as `dagster asset materialize` does; all assets where none is named."""
        chosen = [dg.AssetKey(name.split("/")) for name in select] or None
        with dg.DagsterInstance.local_temp(str(self.home)) as instance:
            result = (
                self.definitions()
                .resolve_implicit_global_asset_job_def()
                .execute_in_process(
                    instance=instance, asset_selection=chosen, run_config=run_config, raise_on_error=False
                )
            )
            assert result.success != fails, "the run failed" if not fails else "the run did not fail"
            return result

    def check(self, *names: str, fails: bool = False) -> dg.ExecuteInProcessResult:
        """Run checks alone, as a button of the UI does; they are named `asset:check`."""
        keys = [
            dg.AssetCheckKey(dg.AssetKey(asset.split("/")), check) for asset, check in (n.split(":") for n in names)
        ]
        job = dg.define_asset_job("some_checks", selection=dg.AssetSelection.checks(*keys))
        chosen = dg.Definitions.merge(self.definitions(), dg.Definitions(jobs=[job]))
        with dg.DagsterInstance.local_temp(str(self.home)) as instance:
            result = chosen.resolve_job_def("some_checks").execute_in_process(instance=instance, raise_on_error=False)
            assert result.success != fails, "the run failed" if not fails else "the run did not fail"
            return result

    def command(
        self, *arguments: str, module: str = "dagster", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a user does."""
        program = str(Path(sys.executable).with_name(module))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
        return subprocess.run(
            [program, *arguments],
            env={**environment, **self.environment()},
            cwd=cwd or self.home,
            capture_output=True,
            text=True,
            check=False,
        )

    def spawn(self, *arguments: str, cwd: Path | None = None) -> "subprocess.Popen[str]":
        """Start dagster and go on; what it says is in `log`."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
        with self.log.open("w") as log:
            return subprocess.Popen(
                [str(Path(sys.executable).with_name("dagster")), *arguments],
                env={**environment, **self.environment()},
                cwd=cwd or self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    @property
    def log(self) -> Path:
        return self.home / "command.log"

    @property
    def tables(self) -> Lake:
        return Lake(str(self.lake), self.s3)

    def newest(self) -> dict[str, Record]:
        """The newest record of each asset."""
        return History.read(self.tables).newest

    def data_versions(self) -> dict[str, str]:
        return {asset: record.data_version for asset, record in self.newest().items()}

    def table_versions(self) -> dict[str, int]:
        return {name: self.tables.open(name).version for name in TABLES if self.tables.exists(name)}

    def events(self, asset: str, limit: int = 1) -> list[dg.AssetMaterialization]:
        """Dagster's materializations of an asset, newest first."""
        with dg.DagsterInstance.local_temp(str(self.home)) as instance:
            found = instance.fetch_materializations(dg.AssetKey(asset.split("/")), limit=limit).records
            return [record.asset_materialization for record in found if record.asset_materialization]


def verdicts_of(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """What the checks of a run found, by `asset:check`."""
    found = result.get_asset_check_evaluations()
    return {f"{item.asset_key.to_user_string()}:{item.check_name}": item for item in found}


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """The sentence that the first failed step gave."""
    failures = [event for event in result.all_events if event.is_step_failure]
    error = failures[0].step_failure_data.error
    return str(error.message if error else "")


def _copy_file(source: str, target: str) -> None:
    """A database of SQLite with what its journal holds, whoever has it open; any other file as it is."""
    if not source.endswith(".db"):
        shutil.copy2(source, target)
        return
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


UP_TO_DATASET = (
    "raw_images", "image_table", "scores/sharpness", "scores/exposure", "scores/entropy", "scores/phash",
    "scores/near_duplicates", "base_model", "sft_dataset",
)  # fmt: skip

WITHOUT_TRAINING = (*UP_TO_DATASET, "batch_predictions")


def copy_of(made: Project, folder: Path) -> Project:
    """A copy of lake and history. The source is one place for all, for a lake belongs to it, and as it was at first."""
    source = Path(made.source)
    shutil.rmtree(source)
    shutil.copytree(source.with_name("kept"), source)
    return made.copied(folder)
