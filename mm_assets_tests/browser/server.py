"""`dagster dev` as a user starts it, asked over GraphQL and watched from outside."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mm_assets_tests.project import Project
from mm_assets_tests.stores import free_port

LOADED = (
    "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename } } } } }"
)


def wait_for(what: Callable[[], Any], seconds: float, why: str) -> Any:
    """The first true value of a question; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {why}"
        time.sleep(0.1)
    return found


@dataclass(frozen=True)
class Server:
    """A running `dagster dev`."""

    url: str
    process: "subprocess.Popen[bytes]"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer)["data"])

    def loaded(self) -> bool:
        assert self.process.poll() is None, "dagster dev has ended"
        try:
            entries = self.ask(LOADED)["workspaceOrError"]["locationEntries"]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return all(entry["loadStatus"] == "LOADED" for entry in entries) and bool(entries)

    def below(self) -> list[tuple[int, str]]:
        """Process id and title of everything that the server started."""
        children: dict[int, list[int]] = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                except OSError:
                    continue
                children.setdefault(parent, []).append(int(folder.name))
        found, waiting = [], list(children.get(self.process.pid, []))
        while waiting:
            pid = waiting.pop()
            waiting += children.get(pid, [])
            try:
                found.append((pid, Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()))
            except OSError:
                continue
        return found


@contextmanager
def dagster_dev(project: Project) -> Iterator[Server]:
    """Start it, wait until the code location is loaded, and end it with everything that it started."""
    port = free_port()
    known = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
    with (project.home / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("dagster")), "dev", "-m", "mm_assets.definitions", "-p", str(port)],
            env={**known, **project.environment()},
            cwd=project.home,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_default_signals,
        )
    server = Server(f"http://127.0.0.1:{port}", process)
    try:
        wait_for(server.loaded, 120, f"dagster dev: {(project.home / 'dev.log').read_text()[-2000:]}")
        yield server
    finally:
        started = [pid for pid, _ in server.below()]
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
        for pid in started:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _default_signals() -> None:
    # A test run in the background ignores SIGINT, and its children would inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
