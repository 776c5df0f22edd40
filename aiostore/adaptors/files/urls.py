"""File adaptors from URLs."""

from msgspec import Struct

from aiostore.adaptors.files.adaptor import FileAdaptor
from aiostore.urls import StoreURL, path_of


class _Options(Struct, forbid_unknown_fields=True):
    """A file URL has none."""


def from_url(url: StoreURL) -> FileAdaptor:
    """The folder of `file:///absolute/folder` or `file:relative/folder`."""
    url.options(_Options)
    return FileAdaptor(path_of(url, "file:///absolute/folder or file:relative/folder"))
