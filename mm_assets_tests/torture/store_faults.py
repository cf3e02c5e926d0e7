"""A proxy before the S3 server that is busy, resets connections and stalls, by chance or where it is told to."""

import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

from mm_assets.settings import S3Settings
from mm_assets_tests.kit.stores import POLL_S, Bucket, Fault, Proxy, _Handler

# Before the store is asked: answers 503, closes the connection. After it has done what was asked: the same two.
BUSY, RESET, DENIED, LOST = "busy", "reset", "denied", "lost"
# Does it when whoever asked has long given up.
STALL = "stall"
STALL_S, PATIENCE_S = 2.0, 1.0
SLOW_DOWN = Fault("", status=503, code="SlowDown").answer()

# Method and path of a request -> what happens to it.
Choice = Callable[[str, str], str | None]


def by_chance(seed: int, share: float) -> Choice:
    """A share of the requests is spoilt, in each way as often."""
    chance, lock = random.Random(seed), threading.Lock()

    def choose(method: str, path: str) -> str | None:
        with lock:
            return chance.choice((BUSY, RESET, DENIED, LOST, STALL)) if chance.random() < share else None

    return choose


def commits_once(*kinds: str) -> Choice:
    """Every commit of a version is spoilt once (the PUT of its manifest), in each of these ways in turn."""
    seen: set[str] = set()

    def choose(method: str, path: str) -> str | None:
        if method != "PUT" or not path.endswith(".manifest") or path in seen:
            return None
        seen.add(path)
        return kinds[len(seen) % len(kinds)]

    return choose


@dataclass
class Storm(Proxy):
    """The proxy; what it does is `choose`'s choice, and counted."""

    choose: Choice = lambda method, path: None
    done: Counter[str] = field(default_factory=Counter)


class _Spoiler(_Handler):
    proxy: ClassVar[Storm]

    def _answer(self) -> None:
        kind = self.proxy.choose(self.command, urlsplit(self.path).path)
        if kind is None:
            super()._answer()
            return
        self.proxy.done[kind] += 1
        if kind == STALL:
            threading.Event().wait(STALL_S)
        if kind in (DENIED, LOST, STALL):
            self.ask()
        else:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if kind in (BUSY, DENIED):
            self._send(503, {}, SLOW_DOWN)
            return
        # Without lingering a closed connection is a reset one.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815  (names that http.server looks for)

    def ask(self) -> None:
        """Have the store do what is asked."""
        answer, self._send = self._send, lambda *arguments, **named: None  # type: ignore[method-assign]
        super()._answer()
        self._send = answer  # type: ignore[method-assign]

    def finish(self) -> None:
        """There is nothing to flush where the connection was closed."""
        if not self.wfile.closed and self.connection.fileno() >= 0:
            super().finish()


@contextmanager
def storm(bucket: Bucket) -> Iterator[Storm]:
    """A storm before the store of a bucket, calm at first."""
    plain: S3Settings = bucket.s3
    made = Storm(plain)
    handler = type("Handler", (_Spoiler,), {"proxy": made, "server_port": urlsplit(str(plain.endpoint)).port})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        made.s3 = plain.model_copy(update={"endpoint": f"http://127.0.0.1:{server.server_address[1]}"})
        threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True).start()
        yield made
        server.shutdown()
