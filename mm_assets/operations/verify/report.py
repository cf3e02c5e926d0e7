"""What a verification finds: disagreements, one line each, and counts of what it looked at."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from mm_assets.engines.store.errors import STORE_ERRORS
from mm_assets.lineage.errors import RefusalError

Kind = Literal[
    "commit", "record", "tag", "version", "file", "model", "example", "prediction", "image", "event", "bundle"
]
# So many rows with the same fault have a line each; the others are counted.
MOST_LINES = 5
# Lance and Arrow have the first two for a damaged file; the last one is our own for a table or a version that went away
# meanwhile.
UNREADABLE = (OSError, ValueError, *STORE_ERRORS, RefusalError)


@dataclass(frozen=True)
class Disagreement:
    """Two records of one fact that differ, or one without the other."""

    kind: Kind
    where: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}"

    def as_json(self) -> dict[str, str]:
        """JSON values; the sentence has the key `said`."""
        return {"kind": self.kind, "where": self.where, "said": self.sentence}


@dataclass
class Report:
    """The result of a verification.

    Args:
        disagreements: what is wrong.
        looked_at: how many of what was compared.
        expected_leftovers: how many of what is no disagreement, though quiet runs would leave none of it: expired
            versions, batches of runs that were cut off, events of other lakes. The key in the JSON is `named`.
    """

    disagreements: list[Disagreement] = field(default_factory=list)
    looked_at: Counter[str] = field(default_factory=Counter)
    expected_leftovers: Counter[str] = field(default_factory=Counter)

    def disagree(self, kind: Kind, where: object, sentence: str) -> None:
        """Note a disagreement."""
        self.disagreements.append(Disagreement(kind, str(where), sentence))

    def disagree_rows(self, kind: Kind, where: object, sentence: str, keys: list[str]) -> None:
        """Note rows that have the same fault: the first ones by name."""
        for key in keys[:MOST_LINES]:
            self.disagree(kind, f"{where}, {key}", sentence)
        if len(keys) > MOST_LINES:
            self.disagree(kind, where, f"{sentence}: {len(keys) - MOST_LINES:,} rows more")

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
            lines = [*str(error).splitlines(), type(error).__name__]
            self.disagree("version", where, f"cannot be read: {lines[0]}")

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "disagreements": [item.as_json() for item in self.disagreements],
            "looked_at": dict(sorted(self.looked_at.items())),
            "named": dict(sorted(self.expected_leftovers.items())),
        }
