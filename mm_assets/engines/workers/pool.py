"""Give items to a pool of Ray actors, each to whoever is free; an item whose actor is lost is given to another one."""

import concurrent.futures
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError

# How often an item may end the actor that works at it, and a pool lose the actor that it is starting. Actors whose node
# was lost do not count: the item had no part in it, and may be given to several of them before Ray notices.
RETRIES = 3
LOST = (RayActorError, WorkerCrashedError, NodeDiedError, ObjectLostError)

Numbered = tuple[int, Any]


def distribute(start: Callable[[], Any], size: int, items: Sequence[Any]) -> Iterator[Numbered]:
    """Call every item's actor, and replace actors that die with their process or their node.

    Ray's own restarts would wait for the lost actor's place with an item in hand, also where the rest of the pool fills
    the cluster; here the rest goes on with it.

    Args:
        start: makes an actor with the methods `prepare()`, which gives the id of its node, and `run(item)`.
        size: of the pool.
        items: what to call it with.

    Yields:
        (position of the item, result), in the order in which they end.

    Raises:
        RuntimeError: an item ended its actors again and again, or no actor could be started.
        Exception: whatever a worker raised.
    """
    pool = _Pool(start, deque(enumerate(items)))
    try:
        for _ in range(size):
            pool.hire()
        while pool.waiting or pool.working():
            # Waiting on futures can be interrupted by Dagster's cancel; a blocking ray.get cannot.
            done, _ = concurrent.futures.wait(pool.busy, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                yield from pool.settle(future)
    finally:
        pool.dismiss()


@dataclass
class _Pool:
    """The actors, what each is at (None: it is starting), who has nothing to do, and the items that nobody has yet."""

    start: Callable[[], Any]
    waiting: deque[Numbered]
    busy: dict[concurrent.futures.Future, tuple[Any, Numbered | None]] = field(default_factory=dict)
    actors: set[Any] = field(default_factory=set)
    idle: deque[Any] = field(default_factory=deque)
    nodes: dict[Any, set[str]] = field(default_factory=dict)
    lost: Counter[int | None] = field(default_factory=Counter)

    def hire(self) -> None:
        actor = self.start()
        self.actors.add(actor)
        self.nodes[actor] = _living()  # on one of them, until it says on which
        self.busy[actor.prepare.remote().future()] = (actor, None)

    def working(self) -> bool:
        return any(item is not None for _, item in self.busy.values())

    def settle(self, future: concurrent.futures.Future) -> Iterator[Numbered]:
        """Take what an actor has done, and give it the next item."""
        actor, item = self.busy.pop(future)
        try:
            result = future.result()
        except LOST as error:
            self._replace(actor, item, error)
            return
        self.idle.append(actor)
        self._assign()
        if item is not None:
            yield item[0], result
        else:
            self.nodes[actor], self.lost[None] = {result}, 0

    def _assign(self) -> None:
        while self.waiting and self.idle:
            actor, item = self.idle.popleft(), self.waiting.popleft()
            self.busy[actor.run.remote(item[1]).future()] = (actor, item)

    def _replace(self, actor: Any, item: Numbered | None, error: Exception) -> None:  # noqa: ANN401  (an actor handle)
        self.actors.discard(actor)
        ray.kill(actor)
        place = item[0] if item is not None else None
        self.lost[place] += self.nodes.pop(actor) <= _living()
        if self.lost[place] > RETRIES:
            what = "a piece of work ended its worker" if item is not None else "a worker ended while it started"
            raise RuntimeError(f"{what} {self.lost[place]} times: {' '.join(str(error).split())}") from error
        if item is not None:
            self.waiting.appendleft(item)
            self._assign()  # an idle actor may have its place, while a new one waits for one
        self.hire()

    def dismiss(self) -> None:
        for actor in self.actors:
            ray.kill(actor)


def _living() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}
