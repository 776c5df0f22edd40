"""Documents in a table of Amazon DynamoDB, or of a server that speaks its protocol.

Stored shape: one table for all collections; partition key `collection#shard`, sort key the key, the
shard being a checksum of the key; the body as one string, moments as numbers of microseconds. One
item holds the layout, the number of shards and the indexes; one for each collection its name. An
index is a sparse global secondary index that holds keys alone.
Consistency: a condition is decided by the request that writes. Reads are strongly consistent by
default. Indexes follow the table with a delay: a document that was just written may be missing from
the answer of a query by index for a moment; whatever comes is read from the table.
Limits: 100 items in a batch or an atomic write, which holds at most 4 MB; 400 KB an item, its
attributes' names included; some 3,000 units read and 1,000 written in a second for one shard of a
collection.
Cost: a write is one unit for each 1 KB, and one more for each index; a read one for each 4 KB, half
of it if it need not be consistent. A scan reads all shards of its collection, filters or not. All
that an atomic write touches costs twice.

Begin with `adaptor`; `_tables` describes the table. docs/dynamodb.md is for users.
"""

from aiostore.adaptors.dynamodb._connections import Endpoint
from aiostore.adaptors.dynamodb._tables import Provisioned, Table, create_request, index_path
from aiostore.adaptors.dynamodb.adaptor import DynamoDBAdaptor
from aiostore.adaptors.dynamodb.create import make_table

__all__ = [
    "DynamoDBAdaptor",
    "Endpoint",
    "Provisioned",
    "Table",
    "create_request",
    "index_path",
    "make_table",
]
