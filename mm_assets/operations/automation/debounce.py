"""Debounces arrivals in the source: many of them make one run, after a quiet while."""

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

    listed_rows = listing.slice(0, 0) if listed is None else listed
    written, removed_ids = difference(listed_rows.select(listing.schema.names), listing, "image_id")
    new = pc.sum(pc.invert(pc.is_in(listing["image_id"], listed_rows["image_id"]))).as_py() or 0
    return Difference(listing.num_rows, new, len(written) - new, len(removed_ids), _digest(listing))


def _digest(listing: pa.Table) -> str:
    """Digest of the rows, whatever batches they came in."""
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, listing.schema) as writer:
        writer.write_table(listing.combine_chunks())
    return hashlib.sha256(stream.getvalue()).hexdigest()[:16]


@dataclass(frozen=True)
class Debounce:
    """The state of a sensor between two looks at the source; times are in seconds since 1970.

    Args:
        digest: of the last listing that differed; empty where there is nothing to wait for.
        since: when the source was first seen like that, or the last request was made.
        first: when the first change was seen after the last listing, request, or gap between two looks.
        looked: when the last look was.
        last_request: the key of the last request. The cursor has it as `asked`.
    """

    digest: str = ""
    since: float = 0.0
    first: float = 0.0
    looked: float = 0.0
    last_request: str = ""

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "Debounce":
        """Reads a cursor; without one nothing was seen yet."""
        values = json.loads(cursor) if cursor else {}
        return cls(last_request=values.pop("asked", ""), **values)

    def cursor(self) -> str:
        """The text that `from_cursor` reads."""
        values = asdict(self)
        values["asked"] = values.pop("last_request")
        return json.dumps(values)

    def after_look(self, difference: Difference, now: float, in_sight: float) -> "Debounce":
        """The state after a look at a source that differs from its last listing.

        Args:
            difference: between the source and its last listing.
            now: of a clock that may have been set back.
            in_sight: looks at most this many seconds apart are one watch. After a longer gap (a store did not answer,
                the daemon was stopped) the watch begins anew: a source may come back bit by bit.

        For example, with quiet_seconds 30:
            0 s   3 new   since 0, first 0    waits
            20 s  5 new   since 20, first 0   waits: it changed
            50 s  5 new   since 20, first 0   is over: 30 s without a change
        """
        since = min(self.since, now) if self.digest == difference.digest else now
        together = bool(self.digest) and now - self.looked <= in_sight
        return Debounce(difference.digest, since, min(self.first, now) if together else now, now, self.last_request)

    def is_over(self, settings: AutomationSettings, now: float) -> bool:
        """Whether to request now: the source was quiet for long enough, or has been changing for too long."""
        quiet = now - self.since >= settings.quiet_seconds
        return quiet or now - self.first >= settings.longest_wait_seconds

    def after_request(self, request: str, now: float) -> "Debounce":
        """The state after a request: later changes have a wait of their own."""
        return replace(self, since=now, first=now, last_request=request)

    def without_difference(self) -> "Debounce":
        """The state where there is nothing to wait for; the last request is kept."""
        return Debounce(last_request=self.last_request)
