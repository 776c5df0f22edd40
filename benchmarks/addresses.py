"""The parts of a server's URL, as drivers take them."""

from typing import Any
from urllib.parse import unquote, urlsplit


def parameters_of(url: str, port: int) -> dict[str, Any]:
    """Decoded; the URL has them all, but for the port."""
    parts = urlsplit(url)
    return {
        "host": parts.hostname,
        "port": parts.port or port,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path.strip("/")),
    }
