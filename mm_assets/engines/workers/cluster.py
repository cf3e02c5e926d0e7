"""The one seam to Ray: start or join a cluster, map a callable class over items, and leave."""

import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mm_assets.engines.store.opening import local_paths
from mm_assets.engines.store.s3 import Secrets
from mm_assets.engines.workers.pool import distribute
from mm_assets.lineage.errors import RefusalError
from mm_assets.settings import Resources

# Bytes of Ray's object store. Ids, metadata of fragments, scores and vLLM's inputs travel through it. The bytes of
# image files never do.
EMBEDDED_OBJECT_STORE = max(512 * 2**20, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10)
PACKAGE = Path(__file__).parents[2]
API_SERVER = "RAY_API_SERVER_ADDRESS"


@dataclass(frozen=True)
class ClusterSettings:
    """The address of Ray, and the needs of its workers.

    Args:
        address: of an existing cluster; None starts one on this machine.
        modules: folders (or files) of the user's own Python packages, which the workers import.
        places: source and lake. Every node must see the folders among them.
        shared: whether every node sees these folders.
    """

    address: str | None = None
    modules: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    shared: bool = False


class Cluster:
    """A Ray cluster, joined or started at its first use. Where this process has one already, that one is used.

    Args:
        settings: see `ClusterSettings`.
    """

    def __init__(self, settings: ClusterSettings = ClusterSettings()) -> None:
        self._settings = settings
        self._owned = False

    def connect(self) -> None:
        """Connect once; later calls return at once.

        Raises:
            RefusalError: no cluster has that address, its token is another one, or its nodes do not see the folders.
        """
        if not ray.is_initialized():
            os.environ.setdefault("RAY_worker_niceness", "0")  # workers run at nice 15 otherwise
            os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
            if self._settings.address is None:
                with _without_api_server():
                    # Without "local", Ray joins any cluster that it finds on the machine.
                    self._init(address="local", include_dashboard=False, object_store_memory=EMBEDDED_OBJECT_STORE)
            else:
                self._join(self._settings.address)
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():  # ray.init replaces them, and Dagster's cancel would be lost
                    signal.signal(number, handler)
            self._owned = True
        self._check_folders()

    def _init(self, modules: tuple[str, ...] = (), **options: Any) -> None:  # noqa: ANN401  (what ray.init takes)
        shipped = [*modules, *self._settings.modules]
        # Workers send their progress as data, for Dagster's log. Everything they print stays in Ray's session folder.
        ray.init(
            logging_level=logging.WARNING,
            log_to_driver=False,
            runtime_env={"py_modules": shipped} if shipped else None,
            **options,
        )

    def _join(self, address: str) -> None:
        if not _has_token():
            raise RefusalError(
                "ray_address (MM_RAY_ADDRESS): a Ray cluster without a token runs anybody's code (CVE-2023-48022): set "
                "RAY_AUTH_TOKEN to the cluster's, or RAY_AUTH_MODE=disabled for one that is protected otherwise"
            )
        try:
            self._init((str(PACKAGE),), address=address)
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise RefusalError(
                f"ray_address (MM_RAY_ADDRESS): {address} could not be joined ({type(error).__name__}: {reason}): "
                "check that it runs, that this machine is a node of it, and that RAY_AUTH_TOKEN is the cluster's"
            ) from None

    def _check_folders(self) -> None:
        folders = local_paths(self._settings.places)
        nodes = len(_nodes())
        if nodes > 1 and folders and not self._settings.shared:
            raise RefusalError(
                f"the Ray cluster has {nodes} nodes, and {', '.join(folders)} is a folder of this machine: put source "
                "and lake into a bucket (s3://...), or mount the folders on every node and set MM_SHARED_FOLDERS=true"
            )

    def shutdown(self) -> None:
        """Leave a cluster that this object joined, or end one that it started."""
        if self._owned:
            ray.shutdown()
            self._owned = False

    @property
    def embedded(self) -> bool:
        """Whether the cluster is this machine alone, with the packages that are installed here."""
        return self._settings.address is None

    def cpus(self) -> int:
        """CPUs of the whole cluster."""
        self.connect()
        return int(ray.cluster_resources().get("CPU", 1))

    def require(self, workers: int, needs: Resources) -> int:
        """How many workers with these needs the cluster can hold at once.

        Raises:
            RefusalError: fewer than `workers`. Ray would wait for more without an error.
        """
        self.connect()
        demand = amounts(needs)
        capacity = sum(_places(node, demand) for node in _nodes())
        if capacity < workers:
            needed = ", ".join(f"{amount:g} {name}" for name, amount in demand.items())
            has = "; ".join(", ".join(f"{node.get(name, 0):g} {name}" for name in demand) for node in _nodes())
            raise RefusalError(
                f"{workers} workers of {needed} each do not fit into the Ray cluster (its nodes have: {has}): ask for "
                "less (train.workers; resources of train, predict or the scorer), or join a larger one (MM_RAY_ADDRESS)"
            )
        return capacity

    def map(
        self,
        worker: type[Any],
        arguments: tuple[Any, ...],
        items: Sequence[Any],
        *,
        actors: int | None = None,
        needs: Resources = Resources(),  # noqa: B008  (frozen)
    ) -> Iterator[tuple[int, Any]]:
        """Call `worker(*arguments)(item)` for every item on a pool of actors.

        Args:
            worker: a class whose instances are called with one item; it must return a row's error as data.
            arguments: of its constructor.
            items: to map over. An item waits in the driver until an actor is free. Where its actor or node is lost,
                another actor gets it.
            actors: size of the pool; None: as many as fit. Never more than fit.
            needs: resources of each actor.

        Yields:
            (position of the item, result), in the order in which the items end.
        """
        if not items:
            return
        capacity = self.require(1, needs)
        count = min(len(items), actors or capacity, capacity)
        remote = ray.remote(_Holder).options(**options(needs))
        secrets = Secrets.of_environment()

        def start() -> Any:  # noqa: ANN401  (a Ray actor handle)
            self.require(1, needs)
            return remote.remote(worker, arguments, secrets)

        yield from distribute(start, count, items)

    def map_ordered(
        self,
        worker: type[Any],
        arguments: tuple[Any, ...],
        items: Sequence[Any],
        *,
        actors: int | None = None,
        needs: Resources = Resources(),  # noqa: B008  (frozen)
    ) -> Iterator[Any]:
        """Call a worker for every item like `map`, and yield the results alone, in the order of the items.

        A result waits until all results before it are there. So the order of commits and of row ids does not depend on
        the speed of workers.
        """
        waiting: dict[int, Any] = {}
        next_position = 0
        for position, result in self.map(worker, arguments, items, actors=actors, needs=needs):
            waiting[position] = result
            while next_position in waiting:
                yield waiting.pop(next_position)
                next_position += 1


def _has_token() -> bool:
    """Whether Ray will find a token, which it then uses by itself, or needs none."""
    disabled = os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled"
    has_variable = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return disabled or has_variable or Path.home().joinpath(".ray", "auth_token").is_file()


def options(needs: Resources) -> dict[str, Any]:
    """A worker's needs as options of a Ray actor."""
    return {
        "num_cpus": needs.cpus,
        "num_gpus": needs.gpus,
        "memory": needs.memory_bytes,
        "resources": needs.other or None,
    }


def amounts(needs: Resources) -> dict[str, float]:
    """A worker's needs by Ray's names of resources, without zeros."""
    named = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory_bytes or 0, **needs.other}
    return {name: amount for name, amount in named.items() if amount}


def beside_driver(kind: type) -> ActorHandle:
    """A small actor on the driver's node. Only the loss of that node ends the actor, and it ends the job too."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(kind).options(num_cpus=0, scheduling_strategy=here).remote()


def _places(node: dict[str, float], demand: dict[str, float]) -> int:
    """How many workers a node can hold. As Ray does, it counts in ten-thousandths: in floats 1 // 0.2 is 4."""
    return min(round(node.get(name, 0) * 10_000) // round(amount * 10_000) for name, amount in demand.items())


@contextmanager
def _without_api_server() -> Iterator[None]:
    """Let Ray's processes inherit an address where no API server answers; it belongs to the dashboard, which is off.

    Without an address, Ray Train's `PlacementGroupCleaner` looks for a server for 40 s. A training that ends in that
    time waits 12 s more (Ray 2.60, `ray_address_to_api_server_url`).
    """
    previous = os.environ.get(API_SERVER)
    os.environ[API_SERVER] = "http://127.0.0.1:1"
    try:
        yield
    finally:
        if previous is None:
            del os.environ[API_SERVER]
        else:
            os.environ[API_SERVER] = previous


def _nodes() -> list[dict[str, float]]:
    """The resources of every living node."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


class _Holder:
    """A Ray actor around one instance of a plain callable class."""

    def __init__(self, worker: type[Any], arguments: tuple[Any, ...], secrets: Secrets) -> None:
        self._worker, self._arguments, self._secrets = worker, arguments, secrets

    def prepare(self) -> str:
        """Make the instance and give the node's id. An error from here stays as it is; a constructor's is wrapped."""
        self._secrets.restore()
        self._call = self._worker(*self._arguments)
        return str(ray.get_runtime_context().get_node_id())

    def run(self, item: Any) -> Any:  # noqa: ANN401  (whatever the worker takes and gives)
        """Call the instance."""
        return self._call(item)
