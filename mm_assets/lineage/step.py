"""One step: its identity, its pinned inputs, and the result for each of its assets."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from mm_assets.judging.verdicts import Verdict
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.properties import ASSETS, BATCH, CODE, INPUTS, RECORDS, RUN, STEP
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef


@dataclass(frozen=True)
class AssetState:
    """The state of an asset when a step begins.

    Args:
        record: of its last materialization; None before the first one.
        last_commit: the version of its last commit, which an unfinished run may have made; None before the first one.
        scanned_to: version of its table up to which its own commits are in the history.
    """

    record: Record | None
    last_commit: LanceRef | None
    scanned_to: int = 0


@dataclass(frozen=True)
class StepResult:
    """A step's result for one of its assets.

    Args:
        metadata: JSON values.
        progress: how far it got. `confirmed_at` is set where the step wrote nothing. The result may then stand for a
            version that another run wrote.
        verdicts: of the checks that were made before the commit.
    """

    metadata: dict[str, Any]
    progress: Progress = field(default_factory=Progress)
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class StepContext:
    """The step that a job works for: its identity, its pinned inputs, and a place to report progress.

    Args:
        run_id: of the run.
        key: name of the step.
        code_versions: by asset that it materializes.
        inputs: the pinned materialization of each asset that it reads.
        records: all materializations of the lake by id, oldest first; those that the step publishes are added.
        own: the state of each asset that it materializes.
        log: told about progress.
    """

    run_id: str
    key: str
    code_versions: dict[str, str]
    inputs: dict[str, Record]
    records: Mapping[str, Record]
    own: dict[str, AssetState]
    log: Callable[[str], None] = field(repr=False)

    def ref(self, asset: str) -> LanceRef:
        """The pinned version of a direct input."""
        return self.inputs[asset].ref

    def input_of(self, record: Record, asset: str) -> Record:
        """The materialization of `asset` that `record` itself read.

        Raises:
            RefusalError: `record` did not read `asset`.
        """
        for item in record.inputs:
            if item.asset == asset:
                return self.records[item.record_id]
        raise RefusalError(f"{record.data_version} names no {asset} among its inputs: materialize {record.asset} again")

    def last_record(self, asset: str) -> Record | None:
        """The previous materialization of one of the step's own assets."""
        return self.own[asset].record

    def properties(
        self, assets: list[str], batch: int, results: Mapping[str, StepResult] | None = None
    ) -> dict[str, str]:
        """Transaction properties of one commit.

        Args:
            assets: the assets whose rows or cells the commit carries.
            batch: number of the commit within the step.
            results: of the assets that this commit completes, in the step's last commit. The commit then carries their
                records, so that a crash before the lineage row can be healed.
        """
        inputs = {name: record.data_version for name, record in self.inputs.items()}
        drafts = [self._draft(asset, result) for asset, result in (results or {}).items()]
        return {
            ASSETS: ",".join(assets),
            RUN: self.run_id,
            STEP: self.key,
            BATCH: str(batch),
            CODE: json.dumps({asset: self.code_versions[asset] for asset in assets}, sort_keys=True),
            INPUTS: json.dumps(inputs, sort_keys=True),
            RECORDS: json.dumps(drafts),
        }

    def _draft(self, asset: str, result: StepResult) -> dict[str, Any]:
        return {
            "id": uuid.uuid4().hex,
            "asset": asset,
            "run_id": self.run_id,
            "step": self.key,
            "code_version": self.code_versions[asset],
            "inputs": [asdict(record.as_input()) for record in self.inputs.values()],
            "metadata": result.metadata,
            "progress": result.progress.as_json(),
            "at": datetime.now(UTC).isoformat(),
        }

    def record(self, asset: str, ref: LanceRef, result: StepResult, *, reused: bool) -> Record:
        """The record of a materialization that made no final commit itself."""
        return replace(Record.from_commit(self._draft(asset, result), ref), reused=reused)
