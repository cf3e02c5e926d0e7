"""How far a materialization got: the next refresh goes on from there."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

# Release 0.1.0 stored these versions under other names, beside names of tables.
_OLD_COMPARED, _OLD_SCANNED, _OLD_CONFIRMED = ("compared", "groups"), "commits", "seen"


@dataclass(frozen=True)
class Progress:
    """Versions of tables up to which a materialization has read or compared them.

    A worked example. The dataset read `images` at version 40 and compared its rows with version 5 of `sft`. Its commit
    became version 6. Meanwhile another run committed version 7. Its record says `inputs={"images": 40}`,
    `compared_to=5` and `scanned_to=7`. The next run would look only at images that changed after version 40. It finds
    the commit of the other run above version 5, and so compares everything.

    Args:
        inputs: by table, the version up to which every row was read. A refresh looks only at rows that changed after.
        compared_to: version of the asset's own table that was compared with what it should hold. None: no such pass.
        scanned_to: version of the asset's own table up to which its own commits are in the history. A later commit may
            carry a record that a crash kept from it.
        confirmed_at: version of the asset's own table that the run had read when it decided to reuse an older one.
    """

    inputs: Mapping[str, int] = field(default_factory=dict)
    compared_to: int | None = None
    scanned_to: int = 0
    confirmed_at: int = 0

    def as_json(self) -> dict[str, Any]:
        """As a record stores it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, table: str) -> Self:  # noqa: ANN401  (what a stranger may have written)
        """Read what a record stores, also one of release 0.1.0.

        Args:
            value: a JSON value.
            table: the asset's own.

        Raises:
            ValueError: the value is something else.
        """
        if not isinstance(value, dict):
            raise ValueError("its progress is no object")
        progress = cls(**value) if "inputs" in value else cls._from_old(value, table)
        versions = [*progress.inputs.values(), progress.compared_to or 0, progress.scanned_to, progress.confirmed_at]
        if not all(isinstance(version, int) for version in versions):
            raise ValueError("its progress names no versions")
        return progress

    @classmethod
    def _from_old(cls, marks: dict[str, int], table: str) -> Self:
        """The watermarks of release 0.1.0: versions by table, or by one of four other names."""
        inputs = dict(marks)
        scanned, confirmed = inputs.pop(_OLD_SCANNED, 0), inputs.pop(_OLD_CONFIRMED, 0)
        compared = [inputs.pop(name) for name in _OLD_COMPARED if name in inputs]
        # The dataset named its own table; the scores, which read it too, had another name for that.
        own = compared or [inputs.pop(table) for name in (table,) if name in inputs]
        return cls(inputs, own[0] if own else None, scanned, confirmed)
