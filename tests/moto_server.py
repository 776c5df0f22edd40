"""moto's DynamoDB as a server on this machine, until it is killed: `python moto_server.py PORT`.

One request at a time. moto's own server has a thread for each connection, and its tables no lock.
Tried with moto 5.2, eight clients at once: a transaction beside other writes was answered with 500
(it copies the table, "dictionary changed size during iteration"); and once threads took turns more
often (`sys.setswitchinterval(1e-6)`), increments by conditional puts were lost, of 252 that were
acknowledged 10, and the two items of every transaction, each an increment of both, stood at 72 and
37. None of this was seen behind the lock. `test_requests_at_once_are_atomic` tries it again, with
threads that take turns that often: `python moto_server.py PORT 1e-6`.
"""

import io
import logging
import signal
import sys
from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING, Any

from moto.core.serialize import JSONSerializer
from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def items_in_order(table: Table) -> list[Item]:
    """All items of a table, which moto sorts by comparing objects of its own."""
    items = [item for partition in table.items.values() for item in partition.values()]
    return sorted(items, key=lambda item: (item.hash_key.value, item.range_key.value))


def part_of_answer(
    serializer: Any, serialized: dict[str, Any], value: Any, shape: Any, key: str
) -> None:
    """One part; an attribute's value is put in as it is, which is what it is to become."""
    if shape.name == "AttributeValue" and isinstance(value, dict):
        serialized[key] = value
    else:
        PART_OF_ANSWER(serializer, serialized, value, shape, key)


PART_OF_ANSWER = JSONSerializer._serialize_type_structure

QUICKER: list[tuple[type, str, object]] = [
    (Table, "all_items", items_in_order),
    (JSONSerializer, "_serialize_type_structure", part_of_answer),
]
"""The two things that moto spends five sixths of its time on; no answer differs. For tables whose
keys are texts, with a sort key."""


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


def main(port: int, switch_interval: float) -> None:
    """Serve at a port of 127.0.0.1.

    Args:
        port: the port.
        switch_interval: seconds after which a thread lets another go on.
    """
    sys.setswitchinterval(switch_interval)
    # Who waits for signals itself has blocked them for all that it starts.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for every request
    for kind, name, quicker in QUICKER:
        setattr(kind, name, quicker)
    server = make_server("127.0.0.1", port, OneByOne(), threaded=True, request_handler=KeepAlive)
    sys.stdout.write(f"listening at {port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) if sys.argv[2:] else sys.getswitchinterval())
