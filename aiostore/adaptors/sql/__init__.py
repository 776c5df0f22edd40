"""Documents in a SQL database, through SQLAlchemy's asyncio engine.

Stored shape: one table, `aiostore_documents`, primary key (collection, key), body as text, moments
as integers of microseconds (exact in every engine); `aiostore_schema` holds the layout's version.
Consistency: a condition is decided inside the statement that writes, in one transaction a batch.
Limits: those of the engine; see `_dialects`.
Cost: a batch is one statement for each kind of condition in it, whatever its length. A scan that
filters narrow down still walks over all records of its prefix, inside the database (some 5 µs for
one of 1 KB), by 2,000 of them in a statement.

SQLite (aiosqlite): WAL, `synchronous=FULL`, several processes on one file, writers one at a time.
"""

from aiostore.adaptors.sql._databases import TLS, Pool, Secret, ServerDatabase, SQLiteDatabase
from aiostore.adaptors.sql._dialects import MARIADB, MYSQL, POSTGRESQL
from aiostore.adaptors.sql.adaptor import SQLAdaptor

__all__ = [
    "MARIADB",
    "MYSQL",
    "POSTGRESQL",
    "TLS",
    "Pool",
    "SQLAdaptor",
    "SQLiteDatabase",
    "Secret",
    "ServerDatabase",
]
