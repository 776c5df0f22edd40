"""Comparisons of numbers, for all databases."""

from collections.abc import Callable
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from aiostore.adaptors.sql._filters import Condition
from aiostore.filters import Operator
from aiostore.orders import RELATIVE_MARGIN, SMALLEST_MARGIN

OPERATIONS: dict[Operator, Callable[[Any, Any], Condition]] = {
    "==": eq,
    "!=": ne,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}


def about(
    read: ColumnElement[Any],
    operator: Operator,
    wanted: float,
    *,
    wide: bool,
    bound: Callable[[float], float] = float,
) -> Condition:
    """A comparison of a float that the database reads with an error within the margins.

    Args:
        read: the float as it is read.
        operator: how it is compared.
        wanted: with what.
        wide: see `aiostore.adaptors.sql._filters`.
        bound: what becomes of a bound, which may have become infinite.
    """
    margin = abs(wanted) * RELATIVE_MARGIN + SMALLEST_MARGIN
    at_most, at_least, slack = (le, ge, margin) if wide else (lt, gt, -margin)
    up: Condition = at_most(read, bound(wanted + slack))
    down: Condition = at_least(read, bound(wanted - slack))
    match operator:
        case "<" | "<=":
            return up
        case ">" | ">=":
            return down
        case "==":
            return and_(up, down)
        case _:
            return or_(up, down)
