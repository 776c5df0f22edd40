"""Queries as they are asked, checked, and planned: which part is whose.

The engine narrows a scan down, and sorts it, as far as it says it can. What is left is done above,
in `aiostore.queries`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from aiostore.errors import InvalidValueError
from aiostore.filters import (
    And,
    Compare,
    Field,
    Filter,
    In,
    Order,
    Path,
    Prefix,
    described,
    is_filter,
    is_plain,
    is_plain_path,
    kinds_of,
    levels_of,
    name_of,
    path_of,
    paths_of,
)
from aiostore.limits import check_scalar
from aiostore.metering import Usage
from aiostore.protocols import Capabilities

OrderBy: TypeAlias = str | Field | Order | Iterable[str | Field | Order]
"""`"age"`, `"-age"`, `"address.city"`, `F.age.desc()`, or several of those."""

_DEEPEST_FILTER = 64  # levels; Python, and every engine, walk through them by recursion
_MOST_INDEXES = 16  # a collection; every one of them makes every write dearer


class Query(msgspec.Struct, frozen=True):
    """What is asked of a collection.

    Attributes:
        where: which documents.
        prefix: only keys that begin with it.
        order: the fields to sort by; the key decides where those are equal, or alone.
    """

    where: Filter | None
    prefix: str
    order: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a store answers a query; `str` tells it to a person.

    Attributes:
        store: the store's name.
        prefix: the scan keeps to keys that begin with it.
        pushed_down: the part of the filter that the engine narrows the scan down by.
        evaluated_here: the part that is left.
        ordered_by_engine: the field that the engine yields the documents in the order of, so that
            no more are read than the limit asks for and those that are alike there; they are sorted
            here by all fields of the query.
        sorted_here: the fields that the documents are sorted by here, once all have been read;
            empty where the engine has sorted them.
        indexes: the declared indexes that the engine may go by, as soon as they are made.
        may_lag: an index of this store may miss what was written in the last moments, and so may
            the answer.
        missing_indexes: those that it might, if it had any indexes.
        scans: whether documents are walked through that may be no part of the answer. They are by
            every filter and every order, but one for which the indexes are enough.
    """

    store: str
    prefix: str
    pushed_down: Filter | None
    evaluated_here: Filter | None
    ordered_by_engine: Order | None
    sorted_here: tuple[Order, ...]
    indexes: tuple[Path, ...]
    may_lag: bool
    missing_indexes: tuple[Path, ...]
    scans: bool

    def __str__(self) -> str:
        keys = f"keys that begin with {self.prefix!r}" if self.prefix else "all keys"
        lines = [f"{'scan' if self.scans else 'read'} of {keys}, on {self.store}"]
        if self.indexes:
            lines.append(f"  by the index on {_names(self.indexes)}")
        if self.may_lag:
            lines.append("  the index may miss what was written in the last moments")
        if self.missing_indexes:
            lines.append(
                f"  without the index on {_names(self.missing_indexes)}: this store has none"
            )
        if self.pushed_down is not None:
            lines.append(f"  the engine narrows down by {described(self.pushed_down)}")
        if self.evaluated_here is not None:
            lines.append(f"  evaluated here: {described(self.evaluated_here)}")
        if self.ordered_by_engine is not None:
            lines.append(
                f"  the engine sorts by {_told(self.ordered_by_engine)}; sorted here: what is "
                "alike there"
            )
        if self.sorted_here:
            fields = ", ".join(map(_told, self.sorted_here))
            lines.append(f"  sorted here, after the last has been read: {fields}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Analysis:
    """What answering a query took, once; `str` tells it to a person.

    Attributes:
        plan: how it was answered.
        documents: how many documents the answer has.
        seconds: how long it took until the last of them was there.
        usage: what the engine charged for it; all zero where it does not charge by the request.
    """

    plan: Plan
    documents: int
    seconds: float
    usage: Usage

    def __str__(self) -> str:
        number = f"{self.documents} document{'s' * (self.documents != 1)}"
        charged = f", {self.usage}" if self.usage != Usage() else ""
        return f"{self.plan}\n  took {self.seconds:.3f} s for {number}{charged}"


def query(where: object, prefix: str, order_by: OrderBy) -> Query:
    """A query from a user's arguments.

    Raises:
        InvalidValueError: the filter is none or nested too deep, or an order names no field.
    """
    if where is not None:
        if not is_filter(where):
            raise InvalidValueError(
                f"a filter is made of F, as in F.age >= 18, not {type(where).__name__}"
            )
        if levels_of(where) > _DEEPEST_FILTER:
            raise InvalidValueError(
                f"the filter is nested deeper than {_DEEPEST_FILTER} levels: write a & b & c, or "
                "in_, which are one level each"
            )
    one = isinstance(order_by, str | Field | Order) or not isinstance(order_by, Iterable)
    orders: Any = [order_by] if one else order_by
    return Query(where, prefix, tuple(map(_order, orders)))


def declared(indexes: object) -> tuple[Path, ...]:
    """The paths of indexes that a user declares, each once.

    Raises:
        InvalidValueError: one is no field, or its names are not plain; or there are too many.
    """
    if isinstance(indexes, str | Field) or not isinstance(indexes, Iterable):
        raise InvalidValueError(
            f'indexes are a list of fields, as in ["email", "address.city"], not {indexes!r:.80}'
        )
    paths = tuple(dict.fromkeys(map(_indexed, indexes)))
    if len(paths) > _MOST_INDEXES:
        raise InvalidValueError(
            f"{len(paths)} indexes are declared, and a collection has {_MOST_INDEXES} at most: "
            "declare those that queries are often asked by"
        )
    return paths


def plan(
    asked: Query,
    store: str,
    capabilities: Capabilities,
    indexes: tuple[Path, ...] = (),
    limit: int | None = None,
) -> Plan:
    """How a store of these capabilities answers.

    Args:
        asked: the query.
        store: the store's name.
        capabilities: the store's.
        indexes: the paths that the collection declares indexes for.
        limit: at most so many documents are wanted; None for all.
    """
    conjuncts = _conjuncts(asked.where)
    pushed = [part for part in conjuncts if _can_be_pushed(part, capabilities, indexes)]
    if "and" not in capabilities.filters:
        del pushed[1:]
    left = [part for part in conjuncts if part not in pushed]
    ordered = _first(asked, limit) if capabilities.orders else None
    useful = _useful(pushed, ordered, indexes) if capabilities.indexes else ()
    missing = () if capabilities.indexes else _useful(conjuncts, _first(asked, limit), indexes)
    return Plan(
        store,
        asked.prefix,
        _joined(pushed),
        _joined(left),
        ordered_by_engine=ordered,
        sorted_here=asked.order if ordered is None else (),
        indexes=useful,
        may_lag=capabilities.indexes_lag and bool(useful),
        missing_indexes=missing,
        scans=not _is_enough(asked, left, ordered, useful, limit),
    )


def _first(asked: Query, limit: int | None) -> Order | None:
    """The field that an engine may sort by, which is worth it only if not everything is read."""
    if limit is None or not asked.order or not is_plain_path(asked.order[0].path):
        return None
    return asked.order[0]


def _useful(
    parts: list[Filter], ordered: Order | None, indexes: tuple[Path, ...]
) -> tuple[Path, ...]:
    """The indexes that parts of the filter, or the order, can be had by."""
    paths = {_path_in_order(part) for part in parts}
    if ordered is not None:
        paths.add(ordered.path)
    return tuple(path for path in indexes if path in paths)


def _is_enough(
    asked: Query,
    left: list[Filter],
    ordered: Order | None,
    indexes: tuple[Path, ...],
    limit: int | None,
) -> bool:
    """Whether the key's own order, or one index, leads to the answer and to nothing else."""
    paths = {_path_in_order(part) for part in _conjuncts(asked.where)}
    if ordered is not None:
        paths.add(ordered.path)
    elif asked.order and (asked.where is None or limit is not None):
        return False  # more is read than is asked for, or it is all to be sorted
    if not paths:
        return True
    return not left and not asked.prefix and len(paths) == 1 and paths <= set(indexes)


def _path_in_order(part: Filter) -> Path | None:
    """The field whose values that match stand together, sorted; None if there is no such field."""
    match part:
        case Compare(path=path, operator=operator) if operator != "!=":
            return path
        case In(path=path) | Prefix(path=path):
            return path
        case _:
            return None


def _conjuncts(where: Filter | None) -> list[Filter]:
    if where is None:
        return []
    return list(where.parts) if isinstance(where, And) else [where]


def _can_be_pushed(part: Filter, capabilities: Capabilities, indexes: tuple[Path, ...]) -> bool:
    if not kinds_of(part) <= capabilities.filters or not is_plain(part):
        return False
    paths = paths_of(part)
    return not capabilities.filters_need_index or (bool(paths) and paths <= set(indexes))


def _joined(parts: list[Filter]) -> Filter | None:
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _order(one: object) -> Order:
    if isinstance(one, Order):
        return one
    if isinstance(one, Field):
        return one.asc()
    if not isinstance(one, str):
        raise InvalidValueError(
            f'an order is a field, as in "-age" or F.age.desc(), not {type(one).__name__}'
        )
    path = tuple(one.removeprefix("-").split("."))
    if "" in path:
        raise InvalidValueError(f'{one!r:.80} names no field to sort by: write "age" or "-age"')
    for name in path:
        check_scalar(name)
    return Order(path, descending=one.startswith("-"))


def _indexed(one: object) -> Path:
    if not isinstance(one, str | Field):
        raise InvalidValueError(
            f'an index is on a field, as in "email" or F.address.city, not {type(one).__name__}'
        )
    path = tuple(one.split(".")) if isinstance(one, str) else path_of(one)
    if not is_plain_path(path):
        raise InvalidValueError(
            f"{name_of(path):.80} can have no index: each name in it is to be of letters, digits "
            "and _, 64 at most and no digit first, which is what every engine can name"
        )
    return path


def _names(paths: tuple[Path, ...]) -> str:
    return " and ".join(map(name_of, paths))


def _told(order: Order) -> str:
    return name_of(order.path) + " descending" * order.descending
