"""SQL adaptors from URLs."""

from importlib import import_module
from typing import Annotated, Literal

from msgspec import Meta, Struct

from aiostore.adaptors.sql._dialects import SQLITE
from aiostore.adaptors.sql.adaptor import SQLAdaptor
from aiostore.errors import ConfigurationError
from aiostore.urls import StoreURL, path_of


class _SQLiteOptions(Struct, forbid_unknown_fields=True):
    synchronous: Literal["full", "normal", "off"] = "full"
    busy_timeout: Annotated[float, Meta(ge=0, le=86_400)] = 5.0
    shared: bool = False


def from_url(url: StoreURL) -> SQLAdaptor:
    """The database file of `sqlite:////absolute/file` or `sqlite:///relative/file`."""
    import_module(SQLITE.driver.partition("+")[2])  # a missing driver is told before anything opens
    options = url.options(_SQLiteOptions)
    path = path_of(url, "sqlite:////absolute/file or sqlite:///relative/file")
    if url.rest.startswith("//"):
        path = path[1:]  # as SQLAlchemy reads it: the third slash only ends the host
    if path == ":memory:":
        raise ConfigurationError("SQLite in memory is not a store of its own: use memory://")
    return SQLAdaptor(
        path,
        synchronous=options.synchronous,
        busy_timeout=options.busy_timeout,
        shared=options.shared,
    )
