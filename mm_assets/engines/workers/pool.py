"""A pool of Ray actors: a free actor gets the next item, and an item whose actor is lost goes to another one."""

import concurrent.futures
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError

# How often an item may end its actor, and how often an actor may end while it starts. An actor whose node was lost does
# not count: that is not the item's fault. Several actors of a lost node may get the item before Ray notices the loss.
RETRIES = 3
LOST = (RayActorError, WorkerCrashedError, NodeDiedError, ObjectLostError)

Numbered = tuple[int, Any]


def distribute(start: Callable[[], Any], size: int, items: Sequence[Any]) -> Iterator[Numbered]:
    """Give every item to an actor, and replace actors that die with their process or their node.

    A worked example, two actors and items 0 to 3:

        Actors A and B are started. Each says that it is prepared, and gets an item: A has 0, B has 1.
        A gives the result of 0, and gets 2.
        B's node dies while B has 1. Item 1 goes to the front of the waiting items, and actor C is started.
        A gives the result of 2, and gets 1, because C waits for a place in the cluster.
        C is prepared, and gets 3. Had B died alone, on a living node, item 1 would have lost one of its 3 retries.

    Ray's own restart is not used: it would keep item 1 until B has a place again, also where the others fill the
    cluster.

    Args:
        start: makes an actor with the methods `prepare()`, which gives the id of its node, and `run(item)`.
        size: of the pool.
        items: an argument of `run` each.

    Yields:
        (position of the item, result), in the order in which the items end.

    Raises:
        RuntimeError: an item ended its actors again and again, or no actor could be started.
        Exception: raised by a worker.
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
    """The state of a pool.

    Args:
        start: makes an actor.
        waiting: items that no actor has.
        busy: the actor and its item, by the future of its call. Without an item, the actor is starting.
        actors: all living ones.
        idle: actors without an item.
        nodes: the node of each actor; before it is prepared, all nodes that it may be on.
        lost: how often each item lost its actor; None stands for actors that ended while they started.
    """

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
        """Take an actor's result, and give it the next item; replace an actor that was lost."""
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
            self._assign()  # an idle actor takes the item, as the new one may wait for a place in the cluster
        self.hire()

    def dismiss(self) -> None:
        for actor in self.actors:
            ray.kill(actor)


def _living() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}
