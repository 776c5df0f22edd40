"""The tables, the same for every dialect."""

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, Text

LAYOUT_VERSION = 1

metadata = MetaData()

documents = Table(
    "aiostore_documents",
    metadata,
    Column("collection", String(64), primary_key=True),
    Column("key", String(512), primary_key=True),
    Column("body", Text),
    Column("version", String(32), nullable=False),
    Column("mark", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
)

layout = Table(
    "aiostore_schema", metadata, Column("version", Integer, primary_key=True, autoincrement=False)
)
