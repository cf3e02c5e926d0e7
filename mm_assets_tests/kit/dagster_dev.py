"""`dagster dev` as a user starts it, asked over GraphQL and watched from outside."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mm_assets_tests.kit.project import Project
from mm_assets_tests.kit.stores import free_port

LOADED = """{ workspaceOrError { ... on Workspace { locationEntries {
  loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
NEWEST_RUN = "{ runsOrError(limit: 1) { ... on Runs { results { status } } } }"


def wait_for(what: Callable[[], Any], seconds: float, why: Callable[[], str]) -> Any:
    """The first true value of a question; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {why()}"
        time.sleep(0.1)
    return found


@dataclass(frozen=True)
class Process:
    """A process, told apart from a later one of the same id by its birth."""

    pid: int
    parent: int
    born: str
    title: str

    def lives(self) -> bool:
        now = _process(self.pid)
        return now is not None and now.born == self.born


def _process(pid: int) -> Process | None:
    """What runs under an id; None where nothing does, or only its exit status is left."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[1]), fields[19], title)


def _end(processes: Iterable[Process]) -> None:
    for process in processes:
        if process.lives():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


@dataclass(frozen=True)
class Server:
    """A running `dagster dev`."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer)["data"])

    def loaded(self) -> bool:
        assert self.process.poll() is None, f"dagster dev has ended:\n{self.said()}"
        try:
            entries = self.ask(LOADED)["workspaceOrError"]["locationEntries"]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        errors = [entry["locationOrLoadError"].get("message") for entry in entries if entry["locationOrLoadError"]]
        assert not any(errors), f"the code location was not loaded: {errors}"
        return all(entry["loadStatus"] == "LOADED" for entry in entries) and bool(entries)

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-2000:]

    def newest_run(self) -> str:
        """The status of the newest run."""
        return str(self.ask(NEWEST_RUN)["runsOrError"]["results"][0]["status"])

    def below(self) -> list[Process]:
        """Everything that the server started, and what that started."""
        pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
        children: dict[int, list[Process]] = {}
        for process in filter(None, map(_process, pids)):
            children.setdefault(process.parent, []).append(process)
        found, waiting = [], list(children.get(self.process.pid, []))
        while waiting:
            found.append(waiting.pop())
            waiting += children.get(found[-1].pid, [])
        return found


@contextmanager
def dagster_dev(project: Project) -> Iterator[Server]:
    """Start it, wait until the code location is loaded, and end it with everything that it started."""
    port = free_port()
    known = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
    arguments = ["dev", "-m", "mm_assets.definitions", "-h", "127.0.0.1", "-p", str(port)]
    with (project.home / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("dagster")), *arguments],
            env={**known, **project.environment()},
            cwd=project.home,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_default_signals,
        )
    server = Server(f"http://127.0.0.1:{port}", process, project.home / "dev.log")
    try:
        wait_for(server.loaded, 120, lambda: f"dagster dev, which said:\n{server.said()}")
        yield server
    finally:
        started = server.below()
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _end(started)


def _default_signals() -> None:
    # A test run in the background ignores SIGINT, and its children would inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
