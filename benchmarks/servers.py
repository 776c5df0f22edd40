"""Servers for the benchmarks: those that the tests start, in folders of their own, durable."""

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

_TESTS = Path(__file__).parents[1] / "tests"

_logger = logging.getLogger("benchmarks")


@contextmanager
def servers(names: Iterable[str]) -> Iterator[Mapping[str, str]]:
    """The URLs of those that can be started here; why another cannot is logged."""
    sys.path.append(str(_TESTS))
    try:
        from dynamodb_servers import NOBODYS_ENVIRONMENT  # noqa: PLC0415  # the tests' own
        from local_processes import MissingEngineError  # noqa: PLC0415  # likewise
        from servers import LOCAL_SERVERS  # noqa: PLC0415  # likewise
    finally:
        sys.path.remove(str(_TESTS))
    os.environ.update(NOBODYS_ENVIRONMENT)  # botocore asks for credentials, whoever is asked
    with ExitStack() as running:
        urls: dict[str, str] = {}
        for name in names:
            try:
                server = LOCAL_SERVERS[name](durable=True)
            except MissingEngineError as error:
                _logger.warning("%s is left out: %s", name, error)
            else:
                running.enter_context(closing(server)).start()
                urls[name] = server.url
        yield urls
