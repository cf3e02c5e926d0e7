"""When what arrives in the source is listed: after a quiet while, so that many arrivals make one run."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.settings import AutomationSettings


@dataclass(frozen=True)
class Difference:
    """How a source differs from its last listing.

    Args:
        objects: in the source now.
        new, changed, removed: how many.
        digest: of the listing now.
    """

    objects: int
    new: int
    changed: int
    removed: int
    digest: str

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.removed)

    def __str__(self) -> str:
        counts = {"new": self.new, "changed": self.changed, "removed": self.removed}
        return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def compare(listing: pa.Table, listed: pa.Table | None) -> Difference:
    """Compare the source with its last listing (None: it was never listed)."""
    from mm_assets.engines.lake.changes import difference

    known = listing.slice(0, 0) if listed is None else listed
    written, gone = difference(known.select(listing.schema.names), listing, "image_id")
    new = pc.sum(pc.invert(pc.is_in(listing["image_id"], known["image_id"]))).as_py() or 0
    return Difference(listing.num_rows, new, len(written) - new, len(gone), _digest(listing))


def _digest(listing: pa.Table) -> str:
    """Digest of the rows, whatever batches they came in."""
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, listing.schema) as writer:
        writer.write_table(listing.combine_chunks())
    return hashlib.sha256(stream.getvalue()).hexdigest()[:16]


@dataclass(frozen=True)
class Waiting:
    """What a sensor remembers between two looks at the source; times are in seconds since 1970.

    Args:
        digest: of the listing that was seen last; empty where there was nothing to wait for.
        since: when the source was first seen like that, or was last asked for.
        first: when the first change was seen since the source was last listed, asked for, or out of sight.
        looked: when it was last looked at.
        asked: the request that was made last.
    """

    digest: str = ""
    since: float = 0.0
    first: float = 0.0
    looked: float = 0.0
    asked: str = ""

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "Waiting":
        """What was remembered."""
        return cls(**json.loads(cursor)) if cursor else cls()

    def cursor(self) -> str:
        """To remember it."""
        return json.dumps(asdict(self))

    def look(self, found: Difference, now: float, in_sight: float) -> "Waiting":
        """After another look at a source that differs from its last listing.

        Args:
            found: the difference.
            now: of a clock that may have been set back.
            in_sight: looks that are no further apart, in seconds, belong together. After a longer gap (a store did not
                answer, the daemon was stopped) nobody knows whether the changes went on, and a source that comes back
                bit by bit must have the time to become quiet.
        """
        since = min(self.since, now) if self.digest == found.digest else now
        together = bool(self.digest) and now - self.looked <= in_sight
        return Waiting(found.digest, since, min(self.first, now) if together else now, now, self.asked)

    def over(self, settings: AutomationSettings, now: float) -> bool:
        """Whether the source was quiet for long enough, or has been changing for too long."""
        quiet = now - self.since >= settings.quiet_seconds
        return quiet or now - self.first >= settings.longest_wait_seconds

    def ask(self, request: str, now: float) -> "Waiting":
        """After a request: what changes from now on has a wait of its own."""
        return replace(self, since=now, first=now, asked=request)

    def end(self) -> "Waiting":
        """Where there is nothing to wait for; what was asked for stays known."""
        return Waiting(asked=self.asked)
