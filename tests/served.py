"""A server as the tests use it, whichever its engine: places on it that are empty."""

import os
from abc import ABC, abstractmethod


class Lent:
    """An empty place on a server, which is nobody else's as long as this object lives.

    Attributes:
        url: of a store there.
    """

    def __init__(self, url: str) -> None:
        self.url = url


class Server(ABC):
    """A server that runs.

    The methods hold up the event loop, if there is one, for some milliseconds.

    Attributes:
        name: of its engine, as tests and `AIOSTORE_REQUIRE` call it.
        url: of a place that is always there.
    """

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self._test = ""
        self._tests_own: list[Lent] = []

    @abstractmethod
    def lend(self) -> Lent:
        """An empty place that is nobody else's as long as the object that is returned lives."""

    def fresh(self) -> str:
        """The URL of an empty place that is nobody else's until this test has ended."""
        # pytest says here which test runs, and which part of it.
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        if test != self._test:
            self._test = test
            self._tests_own.clear()
        lent = self.lend()
        self._tests_own.append(lent)
        return lent.url

    def close(self) -> None:
        """Remove what was lent; the server is not used any more."""
        self._tests_own.clear()
