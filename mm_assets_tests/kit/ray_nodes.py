"""A Ray cluster of several nodes on this machine, started apart from the tests as an administrator would.

Its workers cannot import the project from a path of their own: a `sitecustomize` takes it from them.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

TOKEN = "a-token-of-the-tests-0123456789abcdef"
ROOT = Path(__file__).parents[2]
HIDE = f"""
import sys
sys.path[:] = [path for path in sys.path if path != {str(ROOT)!r}]
sys.meta_path[:] = [f for f in sys.meta_path if "mm_assets" not in f"{{getattr(f, '__module__', '')}}{{f!r}}"]
"""


@dataclass
class RayNodes:
    folder: Path
    port: int
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """What a client of the cluster sets."""
        return {"MM_RAY_ADDRESS": self.address, "RAY_AUTH_TOKEN": TOKEN}

    def start(self, name: str, *arguments: str) -> None:
        """Start a node and wait until it says that it runs."""
        hidden = self.folder / "hide"
        hidden.mkdir(exist_ok=True)
        (hidden / "sitecustomize.py").write_text(HIDE)
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        known = {name: value for name, value in os.environ.items() if not name.startswith(("MM_", "RAY_", "AWS_"))}
        environment = {
            **known,
            "HOME": str(home),
            "PYTHONPATH": str(hidden),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_USAGE_STATS_ENABLED": "0",
            # A lost node is noticed in seconds; by default it takes half a minute.
            "RAY_health_check_initial_delay_ms": "1000",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "10000",
            "RAY_health_check_failure_threshold": "5",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        }
        log = self.folder / f"{name}.log"
        program = str(Path(sys.executable).with_name("ray"))
        common = ["--object-store-memory=120000000", "--block"]
        with log.open("wb") as output:
            self.nodes[name] = subprocess.Popen(
                [program, "start", *arguments, *common],
                env=environment,
                cwd="/",
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 90
        while b"--block" not in log.read_bytes():
            assert self.nodes[name].poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"{name} did not start: {log.read_text()}"
            time.sleep(0.1)

    def start_head(self) -> None:
        """The head takes no work, so that it is never the one that is killed."""
        self.start("head", "--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false")

    def start_worker(self, name: str) -> None:
        resources = f'{{"{name}": 1}}'
        self.start(name, f"--address={self.address}", "--num-cpus=2", f"--resources={resources}")

    def working(self) -> list[str]:
        """The nodes on which an actor of a pool runs."""
        found = set()
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and b"_Holder" in (folder / "cmdline").read_bytes():
                    parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                    found.add(os.getpgid(parent))  # the raylet, which is in the group of its node
            except OSError:  # it ended meanwhile
                continue
        return [name for name, node in self.nodes.items() if node.pid in found]

    def kill(self, name: str) -> None:
        """Kill -9 everything of a node at once, as a lost machine would be."""
        os.killpg(self.nodes.pop(name).pid, signal.SIGKILL)

    def stop(self) -> None:
        for node in self.nodes.values():
            node.terminate()  # `ray start --block` ends the node's processes
        for node in self.nodes.values():
            try:
                node.wait(timeout=5)
            except subprocess.TimeoutExpired:
                os.killpg(node.pid, signal.SIGKILL)


def below(parent: psutil.Process, title: str) -> list[psutil.Process]:
    """The processes that one started, and what they started, whose title contains a text; as they are now."""
    found = []
    for process in parent.children(recursive=True):
        with suppress(psutil.Error):  # it ended meanwhile
            if title in "".join(process.cmdline()[:1]):
                found.append(process)
    return found


@contextmanager
def ray_nodes(folder: Path) -> Iterator[RayNodes]:
    """A head and two workers, `first` and `second`; each has a resource of its own name."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    nodes = RayNodes(folder, port)
    try:
        nodes.start_head()
        for name in ("first", "second"):
            nodes.start_worker(name)
        yield nodes
    finally:
        nodes.stop()
