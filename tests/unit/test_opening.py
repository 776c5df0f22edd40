import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

import aiostore
from aiostore import opening
from aiostore.adaptors.files import FileAdaptor
from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.adaptors.sql import SQLAdaptor
from aiostore.errors import ConfigurationError, InvalidKeyError, InvalidValueError
from aiostore.limits import Limits
from aiostore.migration import MigrationAdaptor
from aiostore.opening import open_adaptor, open_store, schemes
from aiostore.protocols import Adaptor
from aiostore.urls import StoreURL

MIGRATION = {"current": "memory:", "target": "file:data", "migration": "move"}


@pytest.mark.parametrize(
    ("url", "type_", "name"),
    [
        ("memory:", MemoryAdaptor, "memory://"),
        ("memory://", MemoryAdaptor, "memory://"),
        ("file:data", FileAdaptor, "file:data"),
        ("file:///srv/data", FileAdaptor, "file:/srv/data"),
        ("sqlite:app.db", SQLAdaptor, "sqlite:///app.db"),
        ("sqlite:///app.db", SQLAdaptor, "sqlite:///app.db"),
        ("sqlite:////srv/app.db", SQLAdaptor, "sqlite:////srv/app.db"),
        ("sqlite:/srv/app.db", SQLAdaptor, "sqlite:////srv/app.db"),
        ("sqlite:///a%3Fb?busy_timeout=0.5", SQLAdaptor, "sqlite:///a?b"),
        ("sqlite:a?synchronous=off&shared=true", SQLAdaptor, "sqlite:///a"),
        ("postgresql://ada:secret@h/db", SQLAdaptor, "postgresql://h:5432/db"),
        ("postgresql://a:1,b:2/db?sslmode=require", SQLAdaptor, "postgresql://a:1,b:2/db"),
        ("mariadb://ada@h:5/db?table=kv&pool_size=2", SQLAdaptor, "mariadb://h:5/db"),
        ("mysql://h/db?prefix=app_&reconnect_timeout=0", SQLAdaptor, "mysql://h:3306/db"),
    ],
)
@pytest.mark.parametrize("source", [str, lambda url: {"url": url}], ids=["text", "mapping"])
def test_a_url_names_an_adaptor(source: Any, url: str, type_: type, name: str) -> None:
    """The scheme decides the adaptor, whose name tells the place; nothing is touched yet."""
    adaptor = open_adaptor(source(url))
    assert isinstance(adaptor, type_)
    assert adaptor.name == name


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "begins with its scheme"),
        (
            "oracle://root@host/db",
            "no adaptor is known for the scheme 'oracle'.*file, mariadb, memory, migration, mysql",
        ),
        ("postgresql://host", "names a host and a database"),
        ("postgresql://host/db?sslmode=prefer", "sslmode"),
        ("postgresql://host/db?pool_size=0", "pool_size"),
        ("postgresql://host/db?statement_timeout=-1", "statement_timeout"),
        ("postgresql://host/db?table=a-b", "table"),
        ("postgresql://host/db?prefix=1", "prefix"),
        ("postgresql://host/db?shared=true", "known: connect_timeout.*table, prefix, pool_size"),
        ("mariadb://one,two/db", "names one host"),
        ("memory://name", "names nothing"),
        ("memory:?size=5", "known: none"),
        ("file:data?sync=off", "known: none"),
        ("file://host/data", "no host"),
        ("file:", "names no path"),
        ("sqlite://host/app.db", "no host"),
        ("sqlite:///", "names no path"),
        ("sqlite:///:memory:", "use memory://"),
        ("sqlite::memory:", "use memory://"),
        ("sqlite:a?synchronous=extra", "known: .*synchronous, busy_timeout, shared"),
        ("sqlite:a?busy_timeout=-1", "busy_timeout"),
        ("sqlite:a?busy_timeout=nan", "busy_timeout"),
        ("sqlite:a?busy_timeout=inf", "busy_timeout"),
        ("sqlite:a?shared=perhaps", "shared"),
        ("sqlite:a?mode=ro", "known: .*synchronous, busy_timeout, shared"),
    ],
)
def test_a_wrong_url_is_refused(url: str, reason: str) -> None:
    """A URL that no store could be opened by is told at once, with what is right."""
    with pytest.raises(ConfigurationError, match=reason):
        open_store(url)


@pytest.mark.parametrize("source", [None, 5, b"memory:", ["memory:"]])
def test_a_source_of_another_type_is_refused(source: Any) -> None:
    """A store is named by a URL, a mapping or a file."""
    with pytest.raises(ConfigurationError, match=r"a URL, a mapping or the path.*, not by"):
        open_store(source)


@pytest.mark.parametrize(
    ("scheme", "package", "extra"),
    [
        ("file", "filelock", "files"),
        ("sqlite", "aiosqlite", "sqlite"),
        ("sqlite", "sqlalchemy", "sqlite"),
        ("postgresql", "asyncpg", "postgresql"),
        ("mariadb", "asyncmy", "mariadb"),
        ("mysql", "asyncmy", "mariadb"),
    ],
)
def test_a_missing_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str, extra: str
) -> None:
    """Without a driver the message is the command that installs it."""
    for module in [name for name in sys.modules if name.startswith("aiostore.adaptors.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=rf"'{package}'.*'aiostore-db\[{extra}\]'"):
        open_adaptor(f"{scheme}:place")


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_a_broken_installation_is_no_missing_extra(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """A module of our own that is missing is told as what it is."""
    module = {"memory": "aiostore.adaptors.memory", "file": "aiostore.adaptors.files"}[scheme]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=module):
        open_adaptor(f"{scheme}:")


def registered(url: StoreURL) -> Adaptor:
    """What another package would register: an adaptor of its own kind."""
    return MemoryAdaptor(f"{url.scheme}:{url.rest}")


@pytest.fixture
def another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package is installed that registers `my-db` and, in vain, `memory`."""
    points = EntryPoints(
        EntryPoint(name, f"{__name__}:registered", opening.ENTRY_POINTS)
        for name in ("my-db", "memory")
    )
    monkeypatch.setattr(opening, "entry_points", points.select)


@pytest.mark.usefixtures("another_package")
def test_another_package_adds_a_scheme() -> None:
    """Entry points make schemes known; those of the library itself cannot be taken over."""
    assert open_adaptor("my-db:place").name == "my-db:place"
    assert open_adaptor("memory:").name == "memory://"
    servers = ["dynamodb", "mariadb", "mysql", "postgresql"]
    assert schemes() == sorted(["file", "memory", "migration", "my-db", "sqlite", *servers])


def test_the_schemes_of_the_library() -> None:
    """Where no other package adds any, these are known."""
    assert {"file", "mariadb", "memory", "mysql", "postgresql", "sqlite"} <= set(schemes())


@pytest.mark.parametrize("more", [{}, {"lease": 5, "grace": 10.5, "shadow": 0.1}])
def test_a_mapping_names_a_migration(more: dict[str, float]) -> None:
    """Two URLs and a name are a migration; its lease and grace may be set."""
    assert isinstance(open_adaptor(MIGRATION | more), MigrationAdaptor)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({}, r"missing: \['current', 'migration', 'target'\]"),
        ({"url": 5}, r"not known, or not of this kind: \['url'\]"),
        ({"url": "memory:", "current": "memory:"}, r"not known, or not of this kind: \['url'\]"),
        ({"current": "memory:", "migration": "move"}, r"missing: \['target'\]"),
        (MIGRATION | {"target": None}, r"not of this kind: \['target'\]"),
        (MIGRATION | {"colour": "red"}, r"not known, or not of this kind: \['colour'\]"),
        (MIGRATION | {"phase": 2}, r"not of this kind: \['phase'\]"),
        (MIGRATION | {5: "red"}, r"not known, or not of this kind: \[5\]"),
        (MIGRATION | {"phase": "target"}, r"not known, or not of this kind: \['phase'\]"),
        (MIGRATION | {"lease": 0}, r"not of this kind: \['lease'\]"),
        (MIGRATION | {"shadow": 2}, r"not of this kind: \['shadow'\]"),
        (MIGRATION | {"grace": "40"}, r"not of this kind: \['grace'\]"),
        (MIGRATION | {"current": "file:data"}, "two stores, not one"),
        (MIGRATION | {"current": "sqlite:a", "target": "sqlite:///a"}, "two stores, not one"),
        (MIGRATION | {"current": "nothing"}, "begins with its scheme"),
        (MIGRATION | {"target": "oracle:x"}, "no adaptor is known"),
    ],
)
def test_a_wrong_mapping_is_refused(source: dict[Any, Any], reason: str) -> None:
    """Every mistake in a migration's configuration is told before a store is touched."""
    with pytest.raises(ConfigurationError, match=reason):
        open_store(source)


@pytest.mark.parametrize(
    "url",
    [
        "migration:move?current=sqlite:a&target=file:data",
        "migration:move?target=file%3Adata&current=sqlite%3Aa%3Fsynchronous%3Doff&lease=5&grace=1.5",
    ],
)
@pytest.mark.parametrize("source", [str, lambda url: {"url": url}], ids=["text", "mapping"])
def test_one_url_names_a_migration(source: Any, url: str) -> None:
    """A service that is configured by one variable can migrate, too."""
    adaptor = open_adaptor(source(url))
    assert isinstance(adaptor, MigrationAdaptor)
    assert adaptor.migration == "move"
    assert adaptor.name == "sqlite:///a → file:data"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "migration:move",
            "missing required field `current`.*known: current, target, lease, grace, shadow",
        ),
        ("migration:move?current=memory:", "missing required field `target`"),
        ("migration:move?current=memory:&target=file:a&name=b", "unknown field `name`"),
        ("migration:move?current=memory:&target=file:a&lease=0", "lease"),
        ("migration:move?current=memory:&target=file:a&grace=soon", "grace"),
        ("migration:?current=memory:&target=file:a", "name is 1 to 64"),
        ("migration:a?current=migration:b&target=file:a", "current is a store, not another"),
        ("migration:a?current=file:a&target=migration:b", "target is a store, not another"),
        ("migration:a?current=file:a&target=file:a", "two stores, not one"),
    ],
)
def test_a_wrong_url_of_a_migration_is_refused(url: str, reason: str) -> None:
    """Every mistake in it is told before a store is touched."""
    with pytest.raises((ConfigurationError, InvalidKeyError), match=reason):
        open_store(url)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[store]\nurl = "sqlite:///app.db"', "sqlite:///app.db"),
        (
            '[store]\ncurrent = "memory:"\ntarget = "file:data"\nmigration = "move"\nlease = 5',
            "memory:// → file:data",
        ),
        ('[store]\nurl = "migration:a?current=memory:&target=file:a"', "memory:// → file:a"),
        ('[other]\nx = 1\n[store]\nurl = "memory:"\n[store-2]\n', "memory://"),
    ],
)
def test_a_file_names_a_store(text: str, name: str, tmp_path: Path) -> None:
    """A service's TOML file has a table for its store, beside others."""
    path = tmp_path / "service.toml"
    path.write_text(text)
    assert open_store(path).name == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, r'cannot be read \(No such file.*a table \[store\] and in it url = "sqlite'),
        ("[store", "is not TOML"),
        ("\udcff", "is not TOML"),
        ('url = "memory:"', r"has no table \[store\]: write \[store\] and under it url ="),
        ('store = "memory:"', r"has no table \[store\]"),
        ("[store]", r"the table \[store\] of .*missing: \['current', 'migration', 'target'\]"),
        ('[store]\ncurrent = "memory:"', r"missing: \['migration', 'target'\]"),
        ('[store]\nurl = "memory:"\nlease = 5', r"not known, or not of this kind: \['url'\]"),
        ('[store]\nurl = "oracle:x"', r"the table \[store\] of .*no adaptor is known"),
    ],
)
def test_a_wrong_file_is_refused(text: str | None, reason: str, tmp_path: Path) -> None:
    """What is wrong in a file is told with its path, and with what to write."""
    path = tmp_path / "service.toml"
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigurationError, match=reason) as refused:
        open_store(path)
    assert str(path) in str(refused.value)


async def test_limits_are_the_stores() -> None:
    """`open_store` hands the limits on."""
    async with aiostore.open_store("memory:", limits=Limits(nesting=1)) as store:
        with pytest.raises(InvalidValueError, match="deeper than 1"):
            await store.collection("a").put("k", {"in": {}})
