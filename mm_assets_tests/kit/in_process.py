"""Workers in this process: for tests of what is done with rows, not of who does it."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from mm_assets.engines.workers.cluster import Cluster
from mm_assets.resources import RayCluster
from mm_assets.settings import Resources


class InProcess(Cluster):
    """The cluster's interface to jobs, here."""

    def map_ordered(
        self,
        worker: type[Any],
        arguments: tuple[Any, ...],
        items: Sequence[Any],
        *,
        actors: int | None = None,
        needs: Resources = Resources(),  # noqa: B008  (frozen)
    ) -> Iterator[Any]:
        call = worker(*arguments) if items else None
        for item in items:
            yield call(item) if call else None

    def cpus(self) -> int:
        return 1


@pytest.fixture
def here() -> InProcess:
    """Workers in this process."""
    return InProcess()


def use_workers_in_process(patch: pytest.MonkeyPatch) -> None:
    """What Dagster's steps map over their rows runs here; trainings and vLLM start Ray as ever."""
    patch.setattr(RayCluster, "cluster", lambda self: InProcess())


@pytest.fixture
def workers_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `use_workers_in_process`."""
    use_workers_in_process(monkeypatch)


@pytest.fixture
def nothing_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster's steps draw no previews: where nobody looks at them they are half of a small step's work."""
    monkeypatch.setattr("mm_assets.steps.materialize.previews_of", lambda *_: {})
