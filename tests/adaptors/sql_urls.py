"""Databases of all the SQL engines, by their URLs."""

from pathlib import Path

from servers import server

ENGINES = ["sqlite", "postgresql", "mariadb"]


def url_of(engine: str, folder: Path) -> str:
    """An empty database; SQLite's is in a folder, and is not synchronised."""
    if engine == "sqlite":
        return f"sqlite:///{folder / 'store.db'}?synchronous=off"
    return server(engine).fresh()


def engine_of(url: str) -> str:
    """Whose URL it is."""
    return url.partition(":")[0]
