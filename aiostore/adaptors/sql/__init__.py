"""Documents in a SQL database: SQLite, PostgreSQL, MariaDB, MySQL.

Stored shape: one table for all collections, primary key (collection, key), body as text, moments as
integers of microseconds (exact in every engine); a second table holds the layout's version.
Consistency: a condition is decided inside the statement that writes, or under a lock on the row. An
atomic write is one transaction.
Limits: 1,000 items in a batch; those of the engine.
Cost: a batch is one statement for each kind of condition in it, whatever its length; in MariaDB and
MySQL five statements. A scan that filters narrow down walks over all records of its prefix inside
the database, by 2,000 of them in a statement, unless there is an index.

Begin with `adaptor`; `_dialects` has all that differs between the databases. docs/sql.md is for
users.
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
