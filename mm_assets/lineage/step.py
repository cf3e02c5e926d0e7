"""One step: its identity, its pinned inputs, and what each of its assets says when it is done."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from mm_assets.judging.verdicts import Verdict
from mm_assets.lineage.errors import RefusalError
from mm_assets.lineage.properties import ASSETS, BATCH, CODE, INPUTS, RECORDS, RUN, STEP
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef


@dataclass(frozen=True)
class AssetState:
    """The last commit of an asset in its table, and the record of its last materialization (None: there is none).

    `seen` is the version of the table up to which that was looked for.
    """

    record: Record | None
    ref: LanceRef | None
    seen: int = 0


@dataclass(frozen=True)
class StepResult:
    """What a finished materialization says of itself.

    Args:
        metadata: JSON values.
        watermarks: see `Record`.
        looked_at: the version of its table at which nothing was left to do, where it wrote nothing itself: what it
            stands for may be what another run wrote.
        verdicts: of the checks that were made before anything was committed.
    """

    metadata: dict[str, Any]
    watermarks: dict[str, int] = field(default_factory=dict)
    looked_at: int = 0
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class StepContext:
    """The step that a job works for: its identity, its pinned inputs, and a place to report progress."""

    run_id: str
    key: str
    code_versions: dict[str, str]
    inputs: dict[str, Record]
    ancestors: dict[str, Record]
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
                return self.ancestors[item.record_id]
        raise RefusalError(f"{record.data_version} names no {asset} among its inputs: materialize {record.asset} again")

    def last_record(self, asset: str) -> Record | None:
        """The previous materialization of one of the step's own assets."""
        return self.own[asset].record

    def properties(
        self, assets: list[str], batch: int, final: Mapping[str, StepResult] | None = None
    ) -> dict[str, str]:
        """Transaction properties of one commit.

        Args:
            assets: the assets whose rows or cells the commit carries.
            batch: number of the commit within the step.
            final: for the step's last commit, what each asset that it completes says of itself: the commit then
                carries their records, so that a crash before the lineage row can be healed.
        """
        inputs = {name: record.data_version for name, record in self.inputs.items()}
        drafts = [self._draft(asset, said) for asset, said in (final or {}).items()]
        return {
            ASSETS: ",".join(assets),
            RUN: self.run_id,
            STEP: self.key,
            BATCH: str(batch),
            CODE: json.dumps({asset: self.code_versions[asset] for asset in assets}, sort_keys=True),
            INPUTS: json.dumps(inputs, sort_keys=True),
            RECORDS: json.dumps(drafts),
        }

    def _draft(self, asset: str, final: StepResult) -> dict[str, Any]:
        return {
            "id": uuid.uuid4().hex,
            "asset": asset,
            "run_id": self.run_id,
            "step": self.key,
            "code_version": self.code_versions[asset],
            "inputs": [asdict(record.as_input()) for record in self.inputs.values()],
            "metadata": final.metadata,
            "watermarks": final.watermarks,
            "at": datetime.now(UTC).isoformat(),
        }

    def record(self, asset: str, ref: LanceRef, final: StepResult, *, reused: bool) -> Record:
        """The record of a materialization without a final commit of its own."""
        return replace(Record.from_commit(self._draft(asset, final), ref), reused=reused)
