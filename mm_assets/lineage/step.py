"""One step: its identity, its pinned inputs, and what each of its assets says when it is done."""

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
    """An asset as a step meets it.

    Args:
        record: of its last materialization; None: there is none.
        last_commit: the version that its last commit became, which may be that of an unfinished run; None: none.
        scanned_to: version of its table up to which its commits were looked for.
    """

    record: Record | None
    last_commit: LanceRef | None
    scanned_to: int = 0


@dataclass(frozen=True)
class StepResult:
    """What a step says of one of its assets when it is done.

    Args:
        metadata: JSON values.
        progress: how far it got. `confirmed_at` is set where it wrote nothing itself: the version that it stands for
            may then be another run's.
        verdicts: of the checks that were made before anything was committed.
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
        records: all materializations of the lake by id, oldest first; what the step publishes is added.
        own: what it found of each asset that it materializes.
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
            results: for the step's last commit, what each asset that it completes says of itself. The commit then
                carries their records, so that a crash before the lineage row can be healed.
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
        """The record of a materialization without a final commit of its own."""
        return replace(Record.from_commit(self._draft(asset, result), ref), reused=reused)
