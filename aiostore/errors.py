"""Every error that the library raises.

StoreError
├── NotFoundError          no such document
├── AlreadyExistsError     create met a document (`current`)
├── ConflictError          another version stands there (`current`), or none any more
├── InvalidKeyError        a collection's name or a key outside the contract
├── InvalidValueError      a value that would not come back as it went, or of the wrong type
│   └── TooLargeError      a document over the size limit
├── UnsupportedError       this store has no such capability
├── UnavailableError       the engine did not answer; a write may or may not have taken effect
├── ClosedError            the store, or the transaction, is not open or closed
├── CorruptRecordError     what is stored cannot be read
├── ConfigurationError     wrong URL or option, missing extra, unusable place
├── BatchError             some items of a batch failed (`errors`, `done`)
└── MigrationError         a store in the midst of a migration was used against its rules

An error says what happened, where (`store`, `collection`, `key`) and what to do.
"""

from collections.abc import Mapping
from typing import Any


class StoreError(Exception):
    """The root of the tree; by itself, an engine's error that the adaptor does not know.

    Attributes:
        store: the store's name, without secrets, or None.
        collection: the collection's name, or None.
        key: the document's key, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        store: str | None = None,
        collection: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(message)
        self.store = store
        self.collection = collection
        self.key = key

    def __reduce__(self) -> tuple[Any, ...]:
        # To copy and pickle past `__init__`, whose keywords an exception does not keep.
        return _bare, (type(self), self.args), vars(self)

    def __str__(self) -> str:
        where = [
            f"{label} {_shortened(value)}"
            for label, value in (
                ("store", self.store),
                ("collection", self.collection),
                ("key", self.key),
            )
            if value is not None
        ]
        message = super().__str__()
        return f"{message} ({', '.join(where)})" if where else message


class NotFoundError(StoreError):
    """No document stands there: never written, deleted or expired."""


class _StandingError(StoreError):
    """A write was refused by a document that stands there."""

    def __init__(self, message: str, *, current: Any, **where: str | None) -> None:
        super().__init__(message, **where)
        self.current = current


class AlreadyExistsError(_StandingError):
    """A document stands there already: `current`."""


class ConflictError(_StandingError):
    """Another version stands there: `current`, a `Document`. Nothing was written.

    `current` is None if what a transaction had read is gone, or if what refused it is no document.
    """


class InvalidKeyError(StoreError):
    """A collection's name or a document's key breaks the portability contract."""


class InvalidValueError(StoreError):
    """A value breaks the portability contract or is not of the collection's type."""


class TooLargeError(InvalidValueError):
    """A document's encoded size is over the limit."""


class UnsupportedError(StoreError):
    """The store, or this phase of a migration, does not have what was asked for."""


class UnavailableError(StoreError):
    """The engine did not answer, though it was asked several times (`Retries`).

    After a write it is not known whether it took effect: read it to see. A write is sent again as
    it was and recognises itself, so an answer that was lost is made up for; it remains unknown if
    the engine stays away, or if, when it is back, something else stands there: then another write
    may have come after this one.
    """


class ClosedError(StoreError):
    """The store is not open, or the transaction is not: it has not begun, or is over."""


class CorruptRecordError(StoreError):
    """What is stored cannot be read, or does not fit the collection's type."""


class ConfigurationError(StoreError):
    """A store cannot be opened as it is configured. Nothing was changed."""


class BatchError(StoreError):
    """Some items of a batch failed.

    Attributes:
        errors: the error of each key that failed.
        done: what each other key yielded; those took effect.
    """

    def __init__(
        self,
        message: str,
        *,
        errors: Mapping[str, StoreError],
        done: Mapping[str, Any],
        **where: str | None,
    ) -> None:
        super().__init__(message, **where)
        self.errors = errors
        self.done = done


class MigrationError(StoreError):
    """A migration's rules forbid it; the message says what to do instead."""


def _bare(class_: type[StoreError], args: tuple[Any, ...]) -> StoreError:
    return class_.__new__(class_, *args)


def _shortened(text: str, limit: int = 120) -> str:
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}…"
