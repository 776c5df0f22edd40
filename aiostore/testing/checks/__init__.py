"""The checks, a module for each topic."""

from aiostore.testing.checks import (
    batches,
    cancellation,
    capabilities,
    concurrency,
    conditions,
    errors,
    keys,
    lifecycle,
    purging,
    queries,
    reads,
    scans,
    transactions,
    values,
    writes,
)

__all__ = [
    "batches",
    "cancellation",
    "capabilities",
    "concurrency",
    "conditions",
    "errors",
    "keys",
    "lifecycle",
    "purging",
    "queries",
    "reads",
    "scans",
    "transactions",
    "values",
    "writes",
]
