"""Real S3 stores for tests: a server on the loopback interface, buckets in it, and a proxy that spoils its answers.

`mm_assets_tests/conftest.py` imports the fixtures `s3_server`, `bucket` and `proxy`.
"""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from mm_assets.engines.store.s3 import client
from mm_assets.settings import S3Settings

# Any pair will do for moto, which takes every signature.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "no-secret", "AWS_EC2_METADATA_DISABLED": "true"}
START_S = 60.0
# How long an ending proxy may wait for itself.
POLL_S = 0.02


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def running_s3(log: Path, *options: str) -> Iterator[S3Settings]:
    """An empty S3 server (`s3_server`, with its options), from when it answers to the end of the block."""
    port = free_port()
    command = [sys.executable, "-m", "mm_assets_tests.kit.s3_server", "--port", str(port), *options]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _await_port(server, port, log)
        yield S3Settings(endpoint=f"http://127.0.0.1:{port}", addressing="path")
    finally:
        server.kill()  # it has nothing to save, and may have inherited that SIGTERM is ignored
        server.wait()


def _await_port(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = server.wait(timeout=0.05)
            pytest.fail(f"the S3 server ended with status {status}: {log.read_text()}")
    pytest.fail(f"the S3 server did not answer within {START_S:g} s: {log.read_text()}")


@dataclass(frozen=True)
class Bucket:
    """A bucket of a test's own, in a store that it can reach."""

    name: str
    s3: S3Settings

    @property
    def uri(self) -> str:
        return f"s3://{self.name}"

    def put(self, key: str, data: bytes, **options: str) -> str:
        """Store an object; gives its uri."""
        client(self.s3).put_object(Bucket=self.name, Key=key, Body=data, **options)
        return f"{self.uri}/{key}"

    def put_folder(self, folder: Path, prefix: str) -> str:
        """Store every file below a folder; gives the uri of the prefix."""
        paths = [path for path in folder.rglob("*") if path.is_file()]
        self.put_all({f"{prefix}/{path.relative_to(folder)}": path.read_bytes() for path in paths})
        return f"{self.uri}/{prefix}"

    def put_all(self, objects: dict[str, bytes]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.put, objects.keys(), objects.values()))

    def delete(self, key: str) -> None:
        client(self.s3).delete_object(Bucket=self.name, Key=key)

    def environment(self) -> dict[str, str]:
        """What a command of the project needs to reach the store."""
        return {"MM_S3__ENDPOINT": str(self.s3.endpoint), "MM_S3__ADDRESSING": self.s3.addressing, **CREDENTIALS}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Settings]:
    """One S3 server for all tests; a test asks for `bucket`, which sets the credentials too."""
    with running_s3(tmp_path_factory.mktemp("s3") / "server.log") as settings:
        yield settings


@pytest.fixture
def bucket(s3_server: S3Settings, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    made = Bucket(f"bucket-{uuid.uuid4().hex[:12]}", s3_server)
    client(s3_server).create_bucket(Bucket=made.name)
    return made


@dataclass
class Fault:
    """What the proxy does to answers instead of passing them on.

    Args:
        key: only requests whose path ends so are answered like this,
        times: and only so many of them.
        status: of the answer.
        code: S3's name of an error,
        document: or the answer; without either, the store's own answer ends in its middle.
        method: only requests of this one (GET, PUT, ...); "" for all.
        after: so many of them are let through first.
    """

    key: str
    times: int = 99
    status: int = 200
    code: str = ""
    document: str = ""
    method: str = ""
    after: int = 0

    def answer(self) -> bytes:
        error = f"<Error><Code>{self.code}</Code><Message>said by the test</Message></Error>" if self.code else ""
        return (self.document or error).encode()


@dataclass
class Proxy:
    """Stands between a client and the S3 server."""

    s3: S3Settings
    faults: list[Fault] = field(default_factory=list)
    ignores: set[str] = field(default_factory=set)  # headers of requests, in lower case, that it keeps to itself
    requests: list[str] = field(default_factory=list)
    sizeless: bool = False  # its answers do not say how long they are

    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault_of(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and urlsplit(path).path.endswith(fault.key) and fault.method in ("", method):
                    if fault.after:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault
            return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Set in a subclass of each proxy.
    proxy: ClassVar[Proxy]
    server_port: ClassVar[int]

    def _answer(self) -> None:
        self.proxy.requests.append(f"{self.command} {self.path}")
        fault = self.proxy.fault_of(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault is not None and fault.answer():
            self._send(fault.status, {}, fault.answer())
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.server_port)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in self.proxy.ignores}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        self._send(answer.status, dict(answer.getheaders()), data, cut=fault is not None)

    def _send(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        # What HEAD says of the length of a body that it does not send is passed on as it is.
        length = headers.get("Content-Length", str(len(data))) if self.command == "HEAD" else str(len(data))
        kept = {
            n: v for n, v in headers.items() if n.lower() not in ("content-length", "transfer-encoding", "connection")
        }
        for name, value in (kept if self.proxy.sizeless else {**kept, "Content-Length": length}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = cut or self.proxy.sizeless

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815  (names that http.server looks for)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def proxy(bucket: Bucket) -> Iterator[Proxy]:
    """A proxy before the server of `bucket`; its faults are the test's to set."""
    made = Proxy(bucket.s3.model_copy(update={"endpoint": None}))
    handler = type("Handler", (_Handler,), {"proxy": made, "server_port": urlsplit(str(bucket.s3.endpoint)).port})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        made.s3 = bucket.s3.model_copy(update={"endpoint": f"http://127.0.0.1:{server.server_address[1]}"})
        threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True).start()
        yield made
        server.shutdown()
