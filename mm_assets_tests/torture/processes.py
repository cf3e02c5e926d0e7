"""Steps in processes of their own, which can be killed, and the Ray cluster whose actors can be killed under them.

The processes are forks of a server that has imported everything and opened nothing: importing takes seconds, and a
kill should not cost them.
"""

import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from mm_assets.engines.workers.cluster import Cluster, ClusterSettings
from mm_assets_tests.kit.ray_nodes import TOKEN, below
from mm_assets_tests.kit.stores import free_port
from mm_assets_tests.torture.stages import Work, run

# A step that takes longer hangs.
DEADLINE_S = 120.0
PACKAGE = Path(__file__).parent.parent
ACTOR = "ray::_Holder"
ENDED = ("done", "failed")


def _server() -> multiprocessing.context.ForkServerContext:
    """The server of the processes; it starts here for once, for Ray wants to know of tokens when it is imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mm_assets_tests.torture.processes", "mm_assets_tests.torture.races"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "PYTHONWARNINGS": "ignore"}.items():
            patch.setenv(name, value)
        multiprocessing.forkserver.ensure_running()
    return context


@dataclass
class Child:
    """A process that was started here."""

    process: Any
    conversation: Connection
    ended: str | None = None

    def hear(self, seconds: float) -> str | None:
        """What it says next; "" where it ended without a word, None where it says nothing for so long."""
        if not self.conversation.poll(max(0.0, seconds)):
            return None
        try:
            said = str(self.conversation.recv())
        except EOFError:
            said = ""
        if not said or said.startswith(ENDED):
            self.ended = said
        return said

    def ends(self) -> str:
        """Wait for its end: "done", what it failed on, or "" where it was killed.

        Raises:
            AssertionError: it hangs.
        """
        deadline = time.monotonic() + DEADLINE_S
        while self.ended is None:
            assert self.hear(deadline - time.monotonic()) is not None, f"a step takes longer than {DEADLINE_S:g} s"
        self.process.join()
        return self.ended

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self.process.kill()
        self.process.join()


def start(function: Any, *arguments: Any) -> Child:
    """Call `function(conversation, *arguments)` in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = _server().Process(target=_guarded, args=(theirs, function, *arguments), daemon=True)
    process.start()
    theirs.close()
    return Child(process, ours)


def _guarded(conversation: Connection, function: Any, *arguments: Any) -> None:
    try:
        function(conversation, *arguments)
        conversation.send("done")
    except BaseException as error:  # noqa: BLE001  (the other side judges it)
        conversation.send(f"failed: {type(error).__name__}: {error}\n{traceback.format_exc()}")


def step(conversation: Connection, work: Work, stage: str, address: str) -> None:
    """Materialize a stage on a Ray cluster; says `begin` and `publish` as it comes to that."""
    cluster = Cluster(ClusterSettings(address, (str(PACKAGE),), (work.tables.root,), shared=True))
    cluster.connect()
    conversation.send("begin")
    run(work, cluster, stage, lambda word: conversation.send(word) if word == "publish" else None)
    conversation.send("published")
    cluster.shutdown()


@dataclass
class Nodes:
    """A running cluster of one node.

    Args:
        address: to join it by.
        program: `ray start --block`, the parent of all its processes.
    """

    address: str
    program: "subprocess.Popen[bytes]"

    def actors(self) -> list[psutil.Process]:
        """The processes of its actors, as they are now."""
        return below(psutil.Process(self.program.pid), ACTOR)

    def kill_actor(self, chance: random.Random) -> bool:
        """Kill -9 one of the actors; whether there was one."""
        actors = self.actors()
        if not actors:
            return False
        try:
            chance.choice(actors).kill()
        except psutil.NoSuchProcess:
            return False
        return True


@contextlib.contextmanager
def ray_cluster(folder: Path) -> Iterator[Nodes]:
    """A cluster of two CPUs, started apart, which any number of processes join one after the other."""
    address, log = f"127.0.0.1:{free_port()}", folder / "ray.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MM_", "RAY_"))}
    # Workers run at nice 15 otherwise, and a busy machine would let them wait.
    ours = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
    }
    what = ["--head", f"--port={address.split(':')[1]}", "--num-cpus=2", "--include-dashboard=false", "--block"]
    with log.open("wb") as output:
        program = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), "start", *what, "--object-store-memory=120000000"],
            env={**environment, **ours},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + DEADLINE_S
        while b"--block" not in log.read_bytes():
            assert program.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"the cluster did not start: {log.read_text()}"
            time.sleep(0.1)
        yield Nodes(address, program)
    finally:
        program.terminate()  # it ends the node's processes
        try:
            program.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
