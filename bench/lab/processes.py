"""A process per core, each up and ready before the clock starts."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import Any
from unittest import mock

from mm_assets.engines.workers.sandbox import KEEP

CORES = os.cpu_count() or 1
_everybody: list[Barrier] = []


@contextmanager
def ready(
    prepare: Callable[..., None],
    *arguments: Any,  # noqa: ANN401
    keep: bool = False,
) -> Iterator[ProcessPoolExecutor]:
    """As many processes as there are cores, each after `prepare(*arguments)`; spawned, as Lance cannot be forked.

    Args:
        prepare: what they do before the clock starts.
        arguments: of it.
        keep: whether they keep freed memory, as the decoder of this project does.
    """
    context = get_context("spawn")
    everybody = context.Barrier(CORES)
    start = (everybody, prepare, arguments)
    with (
        mock.patch.dict(os.environ, KEEP if keep else {}),
        ProcessPoolExecutor(CORES, mp_context=context, initializer=_start, initargs=start) as pool,
    ):
        list(pool.map(_meet, range(CORES)))
        yield pool


def _start(everybody: Barrier, prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    _everybody.append(everybody)
    prepare(*arguments)


def _meet(_: int) -> None:
    _everybody[0].wait()
