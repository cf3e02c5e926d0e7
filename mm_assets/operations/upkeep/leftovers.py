"""What killed processes left in a lake outside its tables: unfinished models and bundles, uploads that never ended."""

from dataclasses import dataclass

from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import UNFINISHED
from mm_assets.engines.store.place import File, Place


@dataclass(frozen=True)
class Leftover:
    """A folder that was removed: its path below the lake, files and bytes."""

    name: str
    files: int
    num_bytes: int


def remove_leftovers(tables: Lake, older_than: float) -> list[Leftover]:
    """Remove folders of unfinished work in which nothing was written since `older_than` (seconds since 1970)."""
    return [
        Leftover(f"{name}/{item.name}", item.files, item.num_bytes)
        for name, beginnings in UNFINISHED.items()
        for item in _remove_from(tables.place.below(name), beginnings, older_than)
    ]


def _remove_from(place: Place, beginnings: tuple[str, ...], older_than: float) -> list[Leftover]:
    removed = []
    for name, files in sorted(_unfinished(place, beginnings, older_than).items()):
        if all(file.written < older_than for file in files):
            place.remove_folder(name)
            removed.append(Leftover(name, len(files), sum(file.num_bytes for file in files)))
    return removed


def _unfinished(place: Place, beginnings: tuple[str, ...], older_than: float) -> dict[str, list[File]]:
    """The files of every folder of unfinished work; one without a file counts where it is old itself."""
    folders: dict[str, list[File]] = {
        name: [] for name, changed in place.folders() if name.startswith(beginnings) and changed < older_than
    }
    for path, file in place.files():
        name = path.split("/")[0]
        if name.startswith(beginnings):
            folders.setdefault(name, []).append(file)
    return folders


def abort_uploads(tables: Lake, older_than: float) -> int | None:
    """Abort uploads in parts that were begun before `older_than` and never ended.

    Returns:
        How many there were; None where the store does not tell.
    """
    return tables.place.abort_uploads(older_than)
