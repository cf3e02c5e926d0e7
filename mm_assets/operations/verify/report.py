"""What a verification finds: disagreements, one line each, and counts of what it looked at."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from mm_assets.engines.store.errors import STORE_ERRORS
from mm_assets.lineage.errors import RefusalError

Kind = Literal[
    "commit", "record", "tag", "version", "file", "model", "example", "prediction", "image", "event", "bundle"
]
# Of rows with the same fault so many are named, and the others counted.
NAMED = 5
# Lance and Arrow have the first two for a damaged file; the last one is our own for a table or a version that went away
# meanwhile.
UNREADABLE = (OSError, ValueError, *STORE_ERRORS, RefusalError)


@dataclass(frozen=True)
class Disagreement:
    """Two things that say different things, or one that stands alone."""

    kind: Kind
    where: str
    said: str

    def __str__(self) -> str:
        return f"{self.where}: {self.said}"


@dataclass
class Report:
    """What came of a verification.

    Args:
        disagreements: what is wrong.
        looked_at: how many of what was compared.
        named: how many of what is no disagreement, but not as it would be after quiet runs: what retention let go,
            batches of runs that were cut off, events of other lakes.
    """

    disagreements: list[Disagreement] = field(default_factory=list)
    looked_at: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)

    def disagree(self, kind: Kind, where: object, said: str) -> None:
        """Note a disagreement."""
        self.disagreements.append(Disagreement(kind, str(where), said))

    def disagree_rows(self, kind: Kind, where: object, said: str, keys: list[str]) -> None:
        """Note rows that have the same fault: the first ones by name."""
        for key in keys[:NAMED]:
            self.disagree(kind, f"{where}, {key}", said)
        if len(keys) > NAMED:
            self.disagree(kind, where, f"{said}: {len(keys) - NAMED:,} rows more")

    @property
    def verdict(self) -> str:
        """How many disagreements there are, in words."""
        count = len(self.disagreements)
        return "1 disagreement" if count == 1 else f"{count:,} disagreements"

    @contextmanager
    def reading(self, where: object) -> Iterator[None]:
        """What cannot be read is a disagreement, and the rest is looked at all the same."""
        try:
            yield
        except UNREADABLE as error:
            said = [*str(error).splitlines(), type(error).__name__]
            self.disagree("version", where, f"cannot be read: {said[0]}")

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "disagreements": [asdict(item) for item in self.disagreements],
            "looked_at": dict(sorted(self.looked_at.items())),
            "named": dict(sorted(self.named.items())),
        }
