"""The checks, a module for each topic."""

from aiostore.testing.checks import (
    atomic,
    cancellation,
    concurrency,
    conditions,
    documents,
    keys,
    lifecycle,
    purging,
    records,
    scans,
    values,
)

__all__ = [
    "atomic",
    "cancellation",
    "concurrency",
    "conditions",
    "documents",
    "keys",
    "lifecycle",
    "purging",
    "records",
    "scans",
    "values",
]
