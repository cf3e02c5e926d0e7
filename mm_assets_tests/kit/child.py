"""A process of its own that works on a lake and talks to the test; it can be stopped, and dies when it is told to."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from mm_assets.engines.lake.tables import Lake

# Seconds after which a process that should have said something has failed.
DEADLINE_S = 60.0

spawn = multiprocessing.get_context("spawn")


class Child:
    """A process that runs a function with a lake and a pipe to this one."""

    def __init__(self, function: Callable[..., None], tables: Lake, *arguments: Any) -> None:
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=function, args=(tables, theirs, *arguments))
        self._process.start()
        theirs.close()

    def hears(self) -> Any:
        assert self._pipe.poll(DEADLINE_S), "it said nothing"
        return self._pipe.recv()

    def is_stopped(self) -> None:
        """Wait for it to stop itself."""
        _, status = os.waitpid(self._pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), status

    def goes_on(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def ends(self) -> int | None:
        """Its exit status, or the negative number of the signal that ended it."""
        self._process.join(DEADLINE_S)
        return self._process.exitcode

    @property
    def over(self) -> bool:
        return not self._process.is_alive()

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid
