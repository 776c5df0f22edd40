"""One async interface over many stores, and a live migration from any of them to any other."""

import logging

from aiostore.collection import Collection
from aiostore.documents import Document, Page
from aiostore.errors import (
    AlreadyExistsError,
    BatchError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    CorruptRecordError,
    InvalidKeyError,
    InvalidValueError,
    MigrationError,
    NotFoundError,
    StoreError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from aiostore.filters import F
from aiostore.limits import Limits
from aiostore.metering import Usage, metered
from aiostore.opening import open_store
from aiostore.plans import Analysis, Plan
from aiostore.sending import Retries
from aiostore.store import Store
from aiostore.transaction import Transaction
from aiostore.two_way_index import TwoWayIndex

__all__ = [
    "AlreadyExistsError",
    "Analysis",
    "BatchError",
    "ClosedError",
    "Collection",
    "ConfigurationError",
    "ConflictError",
    "CorruptRecordError",
    "Document",
    "F",
    "InvalidKeyError",
    "InvalidValueError",
    "Limits",
    "MigrationError",
    "NotFoundError",
    "Page",
    "Plan",
    "Retries",
    "Store",
    "StoreError",
    "TooLargeError",
    "Transaction",
    "TwoWayIndex",
    "UnavailableError",
    "UnsupportedError",
    "Usage",
    "metered",
    "open_store",
]

# That something is tried again is told to whoever listens to this logger of the library that does
# it, and not on the standard error of who has set up no logging.
logging.getLogger("stamina").addHandler(logging.NullHandler())
