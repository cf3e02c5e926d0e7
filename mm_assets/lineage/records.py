"""The rows of the lake's history: materializations, expiries, maintenance."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mm_assets.lineage.progress import Progress
from mm_assets.lineage.refs import InputRef, LanceRef


@dataclass(frozen=True)
class Record:
    """One materialization: a row of `lineage.lance`."""

    id: str
    asset: str
    ref: LanceRef
    run_id: str
    step: str
    code_version: str
    inputs: tuple[InputRef, ...]
    metadata: dict[str, Any]
    progress: Progress
    at: datetime
    reused: bool

    @property
    def data_version(self) -> str:
        """The data version that Dagster records for this materialization."""
        return str(self.ref)

    @property
    def read(self) -> dict[str, str]:
        """Its inputs: data version by asset."""
        return {item.asset: item.data_version for item in self.inputs}

    @property
    def commits_scanned_to(self) -> int:
        """Table version up to which the asset's own commits are in the history. A crash may hide a later one."""
        return max(self.ref.version, self.progress.scanned_to)

    @property
    def confirmed_at(self) -> int:
        """Table version that the run had read when it decided to reuse an older one."""
        return max(self.ref.version, self.progress.confirmed_at)

    def as_input(self) -> InputRef:
        """The reference to this materialization in the record of one that reads it."""
        return InputRef(self.asset, self.data_version, self.id)

    @classmethod
    def from_commit(cls, draft: Mapping[str, Any], ref: LanceRef) -> "Record":
        """Complete the record that a final commit carries with the version that the commit became.

        Raises:
            KeyError, TypeError, ValueError: the commit carries something else.
        """
        names = ("id", "asset", "run_id", "step", "code_version", "metadata")
        marks = draft["progress"] if "progress" in draft else draft["watermarks"]  # release 0.1.0 wrote the latter
        return cls(
            **{name: draft[name] for name in names},
            ref=ref,
            inputs=tuple(InputRef(**item) for item in draft["inputs"]),
            progress=Progress.from_json(marks, ref.table),
            at=datetime.fromisoformat(draft["at"]),
            reused=False,
        )


@dataclass(frozen=True)
class Expiry:
    """A materialized version that expired. It has its own row in `lineage.lance`, and its records stay.

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
        """One id for each asset and version, so that a version expires once. Stored lakes have this prefix."""
        return f"withdrawn:{self.asset}:{self.ref.table}:{self.ref.table_id}@v{self.ref.version}"


@dataclass(frozen=True)
class Maintenance:
    """Maintenance of a table that changes no row, such as compaction: a row of `lineage.lance`.

    Args:
        ref: the table's version when the work began.
        run_id: of the run.
        step: its name.
        ended: the table's version when the work ended. None: the work goes on, or was killed.
        at: the moment.
    """

    ref: LanceRef
    run_id: str
    step: str
    ended: int | None
    at: datetime

    @property
    def begun(self) -> str:
        """The id of the row for the beginning."""
        return f"maintenance:{self.run_id}:{self.ref.table}:{self.ref.table_id}@v{self.ref.version}"

    @property
    def id(self) -> str:
        """The id of this row: beginning and end have a row each."""
        return self.begun if self.ended is None else f"{self.begun}:ended"
