"""What lineage is made of: references to Lance versions, records of materializations, and the step that writes them.

Nothing here knows Dagster, Lance or Ray, so jobs and engines can use it on any worker.
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from mm_assets.judging.verdicts import Verdict, at_most, failed_sentences, of

# Keys of the transaction properties that every commit of rows carries.
ASSETS, RUN, STEP, BATCH = "mm.assets", "mm.run_id", "mm.step", "mm.batch"
CODE, INPUTS, RECORDS = "mm.code_versions", "mm.inputs", "mm.records"
# Of every commit its own random mark; of the commit that goes before a clean-up, that it is a fence.
MARK, FENCE = "mm.mark", "mm.fence"
# Of a fence, the maintenance run that put it there.
UPKEEP = "mm.upkeep"
# Among the watermarks of a record that its commit does not carry: see `Record.walked` and `Record.seen`.
WALKED, SEEN = "commits", "seen"


class RefusalError(Exception):
    """The step cannot be done as things stand; the message is one sentence that says what to do."""


class BudgetError(RefusalError):
    """More rows failed than the profile allows; the good ones are kept, and the step's other assets (`finals`) too."""

    finals: "dict[str, StepResult]"

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.finals = {}


class BlockedError(RefusalError):
    """The data are not fit to be published: nothing was committed; `verdicts` are those of all blocking checks."""

    def __init__(self, asset: str, verdicts: tuple[Verdict, ...]) -> None:
        super().__init__(f"{asset}: nothing was published; {failed_sentences(verdicts)}")
        self.asset, self.verdicts = asset, verdicts


@dataclass(frozen=True)
class LanceRef:
    """One version of one Lance table; `str()` of it is the data version that Dagster shows."""

    table: str
    table_id: str
    version: int

    def __str__(self) -> str:
        return f"{self.table}:{self.table_id[:6]}@v{self.version}"


@dataclass(frozen=True)
class InputRef:
    """An input of a materialization: which asset, at which data version, by which record."""

    asset: str
    data_version: str
    record_id: str


@dataclass(frozen=True)
class Record:
    """One materialization: a row of `lineage.lance`.

    `watermarks` names, per table, the version up to which the asset has seen every row: a refresh looks only at rows
    that changed after it.
    """

    id: str
    asset: str
    ref: LanceRef
    run_id: str
    step: str
    code_version: str
    inputs: tuple[InputRef, ...]
    metadata: dict[str, Any]
    watermarks: dict[str, int]
    at: datetime
    reused: bool

    @property
    def data_version(self) -> str:
        """The data version that Dagster records for this materialization."""
        return str(self.ref)

    @property
    def read(self) -> dict[str, str]:
        """Data version by asset, of what it was made from."""
        return {item.asset: item.data_version for item in self.inputs}

    @property
    def walked(self) -> int:
        """The version of its table up to which the asset's own commits are known: later ones may have lost a record."""
        return max(self.ref.version, self.watermarks.get(WALKED, 0))

    @property
    def seen(self) -> int:
        """The version of its table that its run had looked at when it found that a version is as it should be."""
        return max(self.ref.version, self.watermarks.get(SEEN, 0))

    def as_input(self) -> InputRef:
        """How a materialization that reads this one refers to it."""
        return InputRef(self.asset, self.data_version, self.id)

    @classmethod
    def from_commit(cls, draft: Mapping[str, Any], ref: LanceRef) -> "Record":
        """The record that a final commit carries, completed with the version that the commit became."""
        inputs = tuple(InputRef(**item) for item in draft["inputs"])
        at = datetime.fromisoformat(draft["at"])
        return cls(**{**draft, "inputs": inputs, "at": at, "ref": ref, "reused": False})


@dataclass(frozen=True)
class Withdrawal:
    """A materialized version that was let go: a row of `lineage.lance` of its own; the records of it stay.

    `reason` says why, in JSON values: `{"reason": "retention", "keep_last": 10}`.
    """

    asset: str
    ref: LanceRef
    run_id: str
    step: str
    reason: dict[str, Any]
    at: datetime

    @property
    def id(self) -> str:
        """One for each asset and version, so that a version is withdrawn once."""
        return f"withdrawn:{self.asset}:{self.ref.table}:{self.ref.table_id}@v{self.ref.version}"


@dataclass(frozen=True)
class Maintenance:
    """Work on a table that changes no row: compaction, indexes; a row of `lineage.lance` of its own.

    `ref` is the version at which it began, `ended` the one that the table had at its end; None: it was not ended yet,
    or it was killed.
    """

    ref: LanceRef
    run_id: str
    step: str
    ended: int | None
    at: datetime

    @property
    def begun(self) -> str:
        """The id of the row that says that it begins."""
        return f"maintenance:{self.run_id}:{self.ref.table}:{self.ref.table_id}@v{self.ref.version}"

    @property
    def id(self) -> str:
        """Begin and end have a row each."""
        return self.begun if self.ended is None else f"{self.begun}:ended"


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


def inputs_of(properties: Mapping[str, str]) -> dict[str, str]:
    """Data version by asset, of what the commit with these properties was made from."""
    found: dict[str, str] = json.loads(properties.get(INPUTS, "{}"))
    return found


def version_of(data_version: str) -> int:
    """The Lance version that a data version (`table:id@vN`) names."""
    return int(data_version.rpartition("@v")[2])


def check_budget(what: str, failed: int, rows: int, budget: float, setting: str) -> None:
    """Hold a step to the share of failed rows that its profile allows; the good rows are committed before.

    Args:
        what: the asset.
        failed: rows of it that are in failure now, whenever that happened.
        rows: all rows that it answers for.
        budget: greatest share, 0 to 1.
        setting: the name of the budget's setting.

    Raises:
        BudgetError: the share is greater.
    """
    if not at_most(failed, rows, budget):
        raise BudgetError(
            f"{what}: {of(failed, rows, 'rows failed')}, more than {setting} ({budget:g}) "
            "allows; the good rows are kept. Look at the rows' errors, then run it again with retry_errors, or allow "
            f"more (MM_{setting.upper().replace('.', '__')})"
        )


def tag_name(asset: str, version: int) -> str:
    """Lance tag that protects a materialized version (allowed are letters, digits, `.`, `_` and `-`)."""
    return f"{re.sub(r'[^A-Za-z0-9._-]', '.', asset)}.v{version}"
