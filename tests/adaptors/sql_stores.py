"""Stores of documents in each of the SQL engines."""

from pathlib import Path

from servers import server

from aiostore.adaptors.sql import SQLAdaptor
from aiostore.opening import open_adaptor

ENGINES = ["sqlite", "postgresql", "mariadb"]


def url_of(engine: str, folder: Path) -> str:
    """An empty database; SQLite's is in a folder, and is not synchronised."""
    if engine == "sqlite":
        return f"sqlite:///{folder / 'store.db'}?synchronous=off"
    return server(engine).fresh()


def engine_of(url: str) -> str:
    """Whose URL it is."""
    return url.partition(":")[0]


def adaptor_at(url: str) -> SQLAdaptor:
    """A new adaptor; imports the driver, so not to be called on the event loop."""
    adaptor = open_adaptor(url)
    assert isinstance(adaptor, SQLAdaptor)
    return adaptor
