"""moto's DynamoDB as a server on this machine: `python moto_server.py PORT`, until it is killed.

One request at a time. moto's own server has a thread for each connection, and its tables no lock.
Tried with moto 5.2, eight clients at once: a transaction beside other writes was answered with 500
(it copies the table, "dictionary changed size during iteration"); and once threads took turns more
often (`sys.setswitchinterval(1e-6)`), increments by conditional puts were lost, of 252 that were
acknowledged 10, and the two items of every transaction, each an increment of both, stood at 72 and
37. None of this was seen behind the lock. `test_requests_at_once_are_atomic` tries it again.
"""

import io
import logging
import signal
import sys
from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class KeepAlive(MotoRequestHandler):
    """Takes many requests over one connection, as DynamoDB does."""

    protocol_version = "HTTP/1.1"


class OneByOne:
    """moto's application, of which each request is alone."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._turn = Lock()

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        """The answer to one request."""
        # Read first: a client that has stopped in the midst of its request keeps no other waiting.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        with self._turn:
            answer: Iterable[bytes] = self._moto(environ, start)
            return list(answer)


def main(port: int) -> None:
    """Serve at a port of 127.0.0.1."""
    # Who waits for signals itself has blocked them for all that it starts.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for every request
    server = make_server("127.0.0.1", port, OneByOne(), threaded=True, request_handler=KeepAlive)
    sys.stdout.write(f"listening at {port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
