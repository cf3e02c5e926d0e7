"""moto's S3 server, with the one thing that it lacks: conditional writes are atomic, as they are in S3.

moto looks for the object, then writes it, on a thread per request: now and then two writers of one new object both win.
"""

import argparse
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CONDITIONS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH")


class Atomic:
    """Answers requests with a condition one after the other; all others as they come."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app
        self._lock = threading.Lock()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if not any(name in environ for name in CONDITIONS):
            return self._app(environ, start_response)
        with self._lock:
            return list(self._app(environ, start_response))


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--switch-interval", type=float, default=sys.getswitchinterval(), help="seconds")
    options = parser.parse_args()
    sys.setswitchinterval(options.switch_interval)
    app = Atomic(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", options.port, app, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
